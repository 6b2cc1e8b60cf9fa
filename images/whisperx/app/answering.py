"""One upload's way through the house: read, decode, wait for its turn, work, answer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from images.serving import errors
from images.serving.app import CLIENT_GONE, hung_up
from images.serving.errors import ApiError
from images.serving.forms import CommonFields, MoreFiles, check_fields, read_form
from images.serving.models import RETRY_AFTER_S
from images.serving.recording import Recording
from images.serving.scheduling import Job, Unwanted
from images.whisperx.app.engine import Engine
from images.whisperx.app.preflight import available_memory, refuse_what_cannot_fit
from images.whisperx.app.work import Line, Tell, Work
from proxy_app.speech import MOST_KNOWN, REFERENCE_S, REFERENCE_SLACK_S

log = logging.getLogger(__name__)

F = TypeVar("F", bound=CommonFields)


@dataclass(frozen=True, slots=True)
class Sounds:
    """The decoded audio of a request: the recording, and references of known speakers' voices."""

    recording: Recording
    references: tuple[Recording, ...]


Make = Callable[[Sounds, Tell], Work]
Plan = Callable[[F, int], Make]
"""Checks a request's fields, given the number of references, and says what is to be done with its
audio."""

REFERENCES = MoreFiles("known_speaker_references", MOST_KNOWN, 8 * 1024 * 1024)
"""10 s are 0.3 MB as the gateway sends them, and 4 MB in the highest quality that there is."""

PROBE_HEADER = "x-speech-probe"
"""A request with it is no use of the models: it neither loads them nor keeps them loaded."""
KEEP_ALIVE_S = 15.0
"""A streamed answer has a line at least so often."""
STALL_S = 60.0
"""A client that takes no line of a streamed answer for so long is given up."""
_PROGRESS_EVERY_S = 1.0
_STOPPING = ApiError(
    503,
    "engine_stopping",
    "The engine is being stopped. Try again in a moment.",
    retry_after_s=RETRY_AFTER_S,
)


@dataclass(slots=True)
class Admitted:
    """A request whose audio is decoded and that is worth waiting for."""

    path: str
    engine: Engine
    job: Job
    work: Work
    gone: asyncio.Task[None]
    """Done once nobody wants the answer."""
    counts: bool
    """Whether it is a use of the models."""
    streamed: bool
    lines: deque[Line]
    """What is known and not yet sent; together no more than the answer."""
    began: float = field(default_factory=time.monotonic)

    async def run(self) -> dict[str, Any]:
        """Do the work; its answer."""
        await self.engine.run(self.job, self.work.steps(), self.gone, counts=self.counts)
        took_s = time.monotonic() - self.began
        log.info("%s: %.1f s of audio, %.1f s", self.path, self.job.duration_s, took_s)
        return self.work.answer()


async def serve(
    request: Request, engine: Engine, spool: Path, kind: type[F], plan: Plan[F]
) -> Response:
    """Answer one upload, in one piece or line by line.

    Its files are gone when the answer is, and its place is free.
    """
    path = request.url.path
    try:
        async with contextlib.AsyncExitStack() as stack:
            with _disk_errors():
                admitted = await _admit(request, engine, spool, kind, plan, stack=stack)
            if admitted.streamed:
                return StreamedAnswer(admitted, stack.pop_all())
            return JSONResponse(await admitted.run())
    except (ClientDisconnect, Unwanted):
        log.info("%s: the client hung up", path)
        return Response(status_code=CLIENT_GONE)
    except asyncio.CancelledError:
        # Only the server does this, when it stops and has waited long enough.
        log.info("%s: given up, because the engine stops", path)
        raise _STOPPING from None


async def _admit(
    request: Request,
    engine: Engine,
    spool: Path,
    kind: type[F],
    plan: Plan[F],
    *,
    stack: contextlib.AsyncExitStack,
) -> Admitted:
    """Take a request in: what the stack holds afterwards is its own until it is answered."""
    settings = engine.settings
    stack.enter_context(engine.upload())
    folder = stack.enter_context(tempfile.TemporaryDirectory(dir=spool))
    limit = settings.max_upload_bytes
    form = await read_form(request, Path(folder), limit, "ENGINE_MAX_UPLOAD_BYTES", REFERENCES)
    engine.gpu.refuse_if_lost()  # the upload may have taken minutes
    fields = check_fields(kind, form.fields)
    make_work = plan(fields, len(form.more))
    stack.enter_context(engine.place())  # from now on nothing is unloaded
    gone = asyncio.create_task(hung_up(request))
    stack.callback(gone.cancel)
    duration_s = await engine.decoder.decode(form.file, gone)
    lines: deque[Line] = deque()
    tell = lines.append if fields.stream else _nobody_listens
    references = [await _decode_reference(engine, file, gone) for file in form.more]
    work = make_work(Sounds(Recording(form.file, duration_s), tuple(references)), tell)
    counts = PROBE_HEADER not in request.headers
    if not counts and engine.lacks(work.lanes):
        message = "The models are not loaded, and a probe does not load them."
        raise ApiError(409, "unloaded", message)
    refuse_what_cannot_fit(duration_s, available_memory(), settings)
    engine.refuse_long_wait(duration_s, work.lanes)
    job = Job(duration_s)
    return Admitted(
        request.url.path, engine, job, work, gone, counts, streamed=fields.stream, lines=lines
    )


async def _decode_reference(engine: Engine, file: Path, gone: asyncio.Future[None]) -> Recording:
    shortest_s, longest_s = REFERENCE_S[0] - REFERENCE_SLACK_S, REFERENCE_S[1] + REFERENCE_SLACK_S
    param = REFERENCES.name
    duration_s = await engine.decoder.decode(file, gone, param=param, longest_s=longest_s)
    if duration_s < shortest_s:
        message = (
            f"A reference is {duration_s:.1f} s long; at least {REFERENCE_S[0]:g} s are needed."
        )
        raise ApiError(400, "audio_too_short", message, param=param)
    return Recording(file, duration_s)


class StreamedAnswer(Response):
    """The answer line by line, as JSON objects; the last one is its end or an error.

    Args:
        admitted: the request.
        stack: what is given back when it is answered.
    """

    media_type = "application/x-ndjson"

    def __init__(self, admitted: Admitted, stack: contextlib.AsyncExitStack) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._admitted = admitted
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do the work and send what becomes known of it."""
        del scope, receive  # the request was read before
        async with self._stack:
            running = asyncio.create_task(self._admitted.run())
            try:
                await self._send_all(running, send)
            except (Unwanted, TimeoutError):
                log.info("%s: the client hung up", self._admitted.path)
            except asyncio.CancelledError:
                log.info("%s: given up, because the engine stops", self._admitted.path)
                with contextlib.suppress(TimeoutError):
                    await _send(send, error_line(_STOPPING), more=False)
            finally:
                self._admitted.gone.cancel()
                await asyncio.wait({running})  # a lane may be reading the file

    async def _send_all(self, running: asyncio.Task[dict[str, Any]], send: Send) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(head)
        job = self._admitted.job
        await _send(send, progress_line(job))
        sent_s, sent_at = job.done_s, time.monotonic()
        while True:
            over = running.done()
            while self._admitted.lines:
                await _send(send, self._admitted.lines.popleft())
            if over:
                break
            now = time.monotonic()
            if job.done_s > sent_s or now - sent_at >= KEEP_ALIVE_S:
                sent_s, sent_at = job.done_s, now
                await _send(send, progress_line(job))
            await asyncio.wait({running}, timeout=_PROGRESS_EVERY_S)
        try:
            last = {"type": "end", "answer": running.result()}
        except Unwanted:
            raise
        except ApiError as error:
            last = error_line(error)
        except Exception:
            log.exception("%s failed", self._admitted.path)
            last = error_line(errors.UNEXPECTED)
        await _send(send, last, more=False)


def progress_line(job: Job) -> Line:
    """How far a job is."""
    return {
        "type": "progress",
        "stage": job.stage,
        "done_s": round(job.done_s, 2),
        "total_s": round(job.duration_s, 2),
    }


def error_line(error: ApiError) -> Line:
    """What ends a streamed answer that cannot go on."""
    return {
        "type": "error",
        "status": error.status,
        "error": errors.body(error),
        "retry_after_s": error.retry_after_s,
    }


async def _send(send: Send, line: Line, *, more: bool = True) -> None:
    body = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    async with asyncio.timeout(STALL_S):
        await send({"type": "http.response.body", "body": body, "more_body": more})


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ApiError(507, "storage_full", "The server's disk is full.") from error


def _nobody_listens(_line: Line) -> None:
    """For an answer in one piece."""

"""Speakers for a Parakeet server: POST /v1/audio/diarize, by NVIDIA's Sortformer (NeMo).

One file, copied beside Parakeet's main.py, that has three parts to play:

- `attach(app)`, called in Parakeet's process, adds two routes to its FastAPI app and keeps the
  diarizer's process running. It imports neither torch nor NeMo and never raises: a diarizer that
  fails, hangs or runs out of memory must not take Parakeet along.
- `diarizer.py --serve PARENT` is that process. It loads the model, answers HTTP on a Unix socket,
  and dies with its parent, whose process id is given.
- `diarizer.py --decode ...` reads one upload, in a process of its own: a codec that crashes costs
  one request.

It runs in whatever container it is copied into: Python 3.10 or later, and there FastAPI,
python-multipart, NeMo 2.5 to 3.0, and any of soundfile with soxr, PyAV and ffmpeg.
"""

import argparse
import asyncio
import contextlib
import ctypes
import errno
import fcntl
import hmac
import importlib.util
import json
import logging
import os
import queue
import re
import resource
import select
import shutil
import signal
import socket
import socketserver
import stat
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

PATH = "/v1/audio/diarize"
HEALTH_PATH = "/v1/audio/diarize/health"

RATE = 16_000
"""Samples per second of what the model hears."""
STREAMING = {
    "chunk_len": 340,
    "chunk_left_context": 1,
    "chunk_right_context": 40,
    "fifo_len": 40,
    "spkcache_update_period": 300,
    "spkcache_len": 188,
}
"""Frames of 80 ms. The model card's "very high latency" (30.4 s): the most accurate for files."""
FRAME_S = 0.08
POST_PROCESSING = {
    "v2-dihard3": (0.56, 1.0, 0.063, 0.002, 0.007, 0.151),
    "v2-callhome": (0.641, 0.561, 0.229, 0.079, 0.511, 0.296),
    "v1-dihard3": (0.64, 0.74, 0.06, 0.0, 0.1, 0.15),
    "v1-callhome": (0.53, 0.49, 0.23, 0.01, 0.42, 0.34),
    "none": (0.5, 0.5, 0.0, 0.0, 0.0, 0.0),
}
"""How probabilities become turns, as NVIDIA tuned it (NeMo, examples/speaker_tasks/diarization/conf
/post_processing; the wheel has not got them): dihard3 keeps short turns, callhome is for calls."""
POST_PROCESSING_KEYS = (
    "onset",
    "offset",
    "pad_onset",
    "pad_offset",
    "min_duration_on",
    "min_duration_off",
)

GIB = 1024**3
STREAMING_BYTES_PER_S = 800_000
"""Memory for a second of audio in streaming: NeMo makes the features of the whole file at once."""
OFFLINE_BYTES_PER_FRAME2 = 215
"""Offline, every frame attends to every other: 8 heads, 32 bits, measured (12 minutes: 17 GB)."""

LONGEST_SOCKET_PATH = 107
QUEUE_S = 600
IDLE_S = 60
LEAST_BYTES_PER_S = 1024
DECODE_S = 600
LEAST_LIMIT_S = 300
RETRY_S = 30
NO_ANSWER = (OSError, EOFError, ValueError, asyncio.TimeoutError)
"""What talking to the diarizer's process raises when it is not there or ends. In Python 3.10 the
last is a class of its own."""
SHORTAGE = re.compile(r"out of memory|alloc_failed|cannot allocate", re.IGNORECASE)
"""What an error says after which a smaller recording can succeed."""
GPU_FAULT = re.compile(r"cuda|cublas|cudnn|accelerator", re.IGNORECASE)
"""What any other error of the GPU says; after most of them every later call here fails."""

# Under uvicorn this logger's lines are shown whatever Parakeet's own logging is set to.
log = logging.getLogger("uvicorn.error.sortformer")


class Refusal(Exception):  # noqa: N818 - not every refusal is an error of ours
    """An answer that is no success.

    Args:
        status: the HTTP status.
        code: a word for programs.
        message: a sentence for people that says what to do; it leaves the house.
        retry_after_s: when to come back.
    """

    def __init__(
        self, status: int, code: str, message: str, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}

    @property
    def body(self) -> bytes:
        """OpenAI's error object."""
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        fallback = "server_error" if self.status >= 500 else "invalid_request_error"  # noqa: PLR2004
        error = {
            "message": self.message,
            "type": kinds.get(self.status, fallback),
            "param": "file" if self.status in (400, 413, 415) else None,
            "code": self.code,
        }
        return json.dumps({"error": error}).encode()


def unavailable(message: str) -> Refusal:
    """The diarizer cannot serve now, and may later."""
    return Refusal(503, "diarizer_unavailable", message, RETRY_S)


class ClientLeftError(Exception):
    """Nobody waits for the answer any more."""


# --- Settings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What the environment says."""

    model: str = "nvidia/diar_streaming_sortformer_4spk-v2.1"
    device: str = "auto"
    post_processing: str = "dihard3"
    max_seconds: float | None = None
    max_bytes: int = 2 * GIB
    waiting: int = 4
    folder: Path = field(
        default_factory=lambda: Path(tempfile.gettempdir()) / f"sortformer-{os.geteuid()}"
    )
    api_key_file: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read SORTFORMER_*; an empty variable counts as unset.

        Raises:
            ValueError: one cannot be used; the message names it.
        """
        given: dict[str, Any] = {}
        variables: dict[str, tuple[str, Callable[[str], Any]]] = {
            "model": ("SORTFORMER_MODEL", str),
            "device": ("SORTFORMER_DEVICE", str),
            "post_processing": ("SORTFORMER_POST_PROCESSING", str),
            "max_seconds": ("SORTFORMER_MAX_SECONDS", _positive),
            "max_bytes": ("SORTFORMER_MAX_BYTES", _positive),
            "waiting": ("SORTFORMER_WAITING", _positive),
            "folder": ("SORTFORMER_DIR", Path),
            "api_key_file": ("SORTFORMER_API_KEY_FILE", Path),
        }
        for name, (variable, convert) in variables.items():
            text = environment.get(variable, "").strip()
            if text:
                try:
                    given[name] = convert(text)
                except ValueError as error:
                    raise ValueError(f"{variable}: {error}") from None
        known = sorted({name.split("-")[-1] for name in POST_PROCESSING})
        if given.get("post_processing", "none") not in known:
            raise ValueError(f"SORTFORMER_POST_PROCESSING: expected one of {', '.join(known)}")
        return cls(**given)

    @property
    def socket(self) -> Path:
        """Where the diarizer's process answers."""
        return self.folder / "socket"


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise ValueError(f"expected a whole number from 1, not {text[:40]!r}")
    return int(text)


def prepare_folder(folder: Path) -> None:
    """Make the folder of the socket and of the uploads, for this user alone.

    Raises:
        OSError: it cannot be made, or somebody else could reach into it.
    """
    if len(os.fsencode(folder / "socket")) > LONGEST_SOCKET_PATH:
        raise OSError(f"{folder} is too long a path for a socket: set SORTFORMER_DIR")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.geteuid()
        or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise OSError(
            f"{folder} is not a folder of this user's alone (mode 0700): "
            "remove it, or set SORTFORMER_DIR"
        )


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends, by whatever cause."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it was over before the line above
        sys.exit(0)


# --- In Parakeet's process ------------------------------------------------------------------------


def attach(app: Any, settings: Mapping[str, object] | None = None) -> None:  # noqa: ANN401
    """Add the diarizer to a FastAPI app. Never raises; what is wrong is logged and answered.

    Args:
        app: the app; nothing of FastAPI is imported before it is in a try.
        settings: SORTFORMER_* variables that go before those of the environment.
    """
    try:
        if not any(getattr(route, "path", None) == PATH for route in app.router.routes):
            _add_routes(app, _front(settings or {}))
    except Exception:  # Parakeet must start, whatever this is
        log.exception("Sortformer could not be attached; this server runs without it")


def _front(given: Mapping[str, object]) -> "Front":
    try:
        environment = {**os.environ, **{name: str(value) for name, value in given.items()}}
        settings = Settings.from_environment(environment)
        prepare_folder(settings.folder)
        supervisor = Supervisor(settings, environment)
        supervisor.start()
    except Exception as error:
        log.exception("Sortformer cannot be started")
        return Front(None, None, f"The diarizer cannot be started: {error}.")
    return Front(settings, supervisor, "")


class Supervisor(threading.Thread):
    """Starts the diarizer's process, and starts it again when it ends."""

    LONGEST_PAUSE_S = 60
    STEADY_S = 300
    """A process that lived this long had no trouble with starting."""
    CHECK_S = 30
    MISSES = 3
    """So many checks without an answer, and the process counts as hung."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        super().__init__(name="sortformer", daemon=True)
        self.settings = settings
        self._environment = environment
        self.said = "The diarizer's process is starting."
        self.restarts = 0

    def run(self) -> None:
        """Work for as long as this process lives."""
        with (self.settings.folder / "lock").open("w") as lock:
            # A server of several worker processes has one diarizer; this waits for its owner's end.
            fcntl.flock(lock, fcntl.LOCK_EX)
            pause_s = 1
            while True:
                began = time.monotonic()
                ended = self._run_once()
                pause_s = 1 if time.monotonic() - began > self.STEADY_S else pause_s
                self.said = f"The diarizer's process {ended}; it is started again."
                self.restarts += 1
                log.error("%s (in %d s)", self.said, pause_s)
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, self.LONGEST_PAUSE_S)

    def _run_once(self) -> str:
        command = [sys.executable, str(Path(__file__).resolve()), "--serve", str(os.getpid())]
        try:
            # The process dies with this thread, not only with the whole of its parent.
            process = subprocess.Popen(  # noqa: S603 - no shell, our own file
                command, stdin=subprocess.DEVNULL, start_new_session=True, env=self._environment
            )
        except OSError as error:
            return f"could not be started ({error.strerror})"
        missed = 0
        while missed < self.MISSES:
            try:
                status = process.wait(self.CHECK_S)
            except subprocess.TimeoutExpired:
                missed = 0 if self._answers() else missed + 1
            else:
                return f"was killed by signal {-status}" if status < 0 else f"ended ({status})"
        process.kill()
        process.wait()
        return "did not answer"

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self.CHECK_S)
                connection.connect(str(self.settings.socket))
                connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
                return bool(connection.recv(1))
        except OSError:
            return False


@dataclass
class Front:
    """What the two routes do: pass on to the diarizer's process, and say so where they cannot."""

    settings: Settings | None
    supervisor: Supervisor | None
    broken: str

    async def diarize(self, request: Any) -> tuple[int, dict[str, str], bytes]:  # noqa: ANN401
        """The answer of POST /v1/audio/diarize: status, headers, JSON."""
        try:
            settings = self._usable()
            self._check_key(settings, request.headers.get("authorization", ""))
            length = request.headers.get("content-length", "")
            if length.isdecimal() and int(length) > settings.max_bytes:
                raise too_large(settings)
            return await self._forward(settings, request)
        except Refusal as refusal:
            return refusal.status, refusal.headers, refusal.body

    async def health(self) -> tuple[int, dict[str, str], bytes]:
        """The answer of GET /v1/audio/diarize/health: 200 only while the model can be used."""
        restarts = self.supervisor.restarts if self.supervisor else 0
        try:
            reader, writer = await self._connect(self._usable())
            try:
                writer.write(b"GET /health HTTP/1.1\r\nHost: diarizer\r\n\r\n")
                status, headers, body = await asyncio.wait_for(_read_answer(reader), 10)
            finally:
                writer.close()
            found = json.loads(body)
        except Refusal as refusal:
            status, headers = refusal.status, refusal.headers
            state = "broken" if self.broken else "restarting" if restarts else "starting"
            found = {"status": state, "detail": refusal.message}
        except NO_ANSWER:
            status, headers = 503, {"Retry-After": str(RETRY_S)}
            found = {"status": "unresponsive", "detail": "The diarizer's process does not answer."}
        return status, headers, json.dumps({**found, "restarts": restarts}).encode()

    def _usable(self) -> Settings:
        if self.settings is None:
            raise unavailable(self.broken)
        return self.settings

    def _check_key(self, settings: Settings, given: str) -> None:
        if settings.api_key_file is None:
            return
        try:
            key = settings.api_key_file.read_text().strip()
        except (OSError, UnicodeError):
            key = ""
        if not key:
            raise unavailable("The file of SORTFORMER_API_KEY_FILE cannot be read, or is empty.")
        if not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            raise Refusal(
                401, "invalid_api_key", "A key is needed: send `Authorization: Bearer KEY`."
            )

    async def _connect(
        self, settings: Settings
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            opening = asyncio.open_unix_connection(str(settings.socket), limit=64 * 1024)
            return await asyncio.wait_for(opening, 10)
        except NO_ANSWER:
            said = self.supervisor.said if self.supervisor else ""
            raise unavailable(said) from None

    async def _forward(
        self,
        settings: Settings,
        request: Any,  # noqa: ANN401
    ) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await self._connect(settings)
        tasks: list[asyncio.Task[Any]] = []
        try:
            kind = request.headers.get("content-type", "")
            writer.write(
                f"POST {PATH} HTTP/1.1\r\nHost: diarizer\r\nContent-Type: {kind}\r\n"
                "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n".encode("latin-1")
            )
            # It looks for a place first, so that no body is read that is refused anyway.
            status, headers, body = await asyncio.wait_for(_read_answer(reader), IDLE_S)
            if status != HTTPStatus.CONTINUE:
                return status, headers, body
            answer = asyncio.ensure_future(_read_answer(reader))
            upload = asyncio.ensure_future(_send_body(request, writer))
            tasks = [answer, upload]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and not isinstance(upload.exception(), OSError):
                await upload
            return await answer
        except ClientLeftError:
            return 499, {}, b""  # to nobody
        except NO_ANSWER:
            raise unavailable(
                "The diarizer's process ended while it worked on this; it is started again."
            ) from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """One answer of our own server: status, the headers that are passed on, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    passed_on = {"retry-after": "Retry-After"}
    return status, {passed_on[key]: fields[key] for key in passed_on if key in fields}, body


async def _send_body(request: Any, writer: asyncio.StreamWriter) -> NoReturn:  # noqa: ANN401
    """Pass the request's body on as it comes; then wait until the client leaves, and say so."""
    from starlette.requests import ClientDisconnect  # noqa: PLC0415 - in Parakeet's process only

    try:
        async for chunk in request.stream():
            if chunk:
                writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                await writer.drain()
    except ClientDisconnect:
        raise ClientLeftError from None
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    if (await request.receive())["type"] != "http.disconnect":
        # Some middleware plays the body back for ever; asking on would spin.
        await asyncio.Event().wait()
    raise ClientLeftError


def _add_routes(app: Any, front: Front) -> None:  # noqa: ANN401
    # Here, so that the annotations below are classes, which is what FastAPI looks for.
    from fastapi import Request, Response  # noqa: PLC0415 - in Parakeet's process only

    async def diarize(request: Request) -> Response:
        """Who speaks when: multipart `file`; {duration, speakers_detected, segments, model}."""
        status, headers, body = await front.diarize(request)
        return Response(body, status, headers, "application/json")

    async def diarize_health() -> Response:
        """Whether the diarizer can be used, and what it does."""
        status, headers, body = await front.health()
        return Response(body, status, headers, "application/json")

    file = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"file": file}, "required": ["file"]}
    described = {"requestBody": {"content": {"multipart/form-data": {"schema": form}}}}
    # By FastAPI's own way, so that the dependencies of the whole app (a key, say) hold here too.
    app.router.add_api_route(HEALTH_PATH, diarize_health, methods=["GET"], response_model=None)
    app.router.add_api_route(
        PATH, diarize, methods=["POST"], response_model=None, openapi_extra=described
    )
    # To the front: a catch-all route or a mount at / would otherwise be found first.
    routes = app.router.routes
    routes[:0] = [routes.pop(), routes.pop()]


# --- The model ------------------------------------------------------------------------------------


class SortformerDiarizer:
    """NVIDIA's Sortformer: who speaks when, for at most four people.

    Streaming models (v2, v2.1) take a file of any length in chunks and remember the voices. The
    offline model (v1) looks at all of a file at once, in memory that grows with the square of its
    length; its licence is non-commercial.

    Args:
        model: a name on the Hugging Face hub, or the path of a .nemo file.
        device: cpu, cuda, or auto.
        post_processing: dihard3, callhome or none (POST_PROCESSING).
        max_seconds: the longest recording; by default 4 hours, offline 8 minutes.

    Raises:
        Exception: whatever NeMo says when the model cannot be had.
    """

    def __init__(
        self,
        model: str = Settings.model,
        device: str = "auto",
        post_processing: str = "dihard3",
        max_seconds: float | None = None,
    ) -> None:
        # It brings torch along, and belongs in the diarizer's process alone.
        from nemo.collections.asr.models import SortformerEncLabelModel  # noqa: PLC0415

        options = {} if device == "auto" else {"map_location": device}
        is_file = model.endswith(".nemo")
        load = (
            SortformerEncLabelModel.restore_from
            if is_file
            else SortformerEncLabelModel.from_pretrained
        )
        loaded = load(model, **options)
        self.name = Path(model).stem if is_file else model
        self.device = str(loaded.device)
        self.streaming = bool(loaded.streaming_mode) or "streaming" in self.name
        self.max_seconds = max_seconds or (4 * 3600.0 if self.streaming else 480.0)
        self._thresholds = self._choose_thresholds(post_processing)
        self._model = loaded.eval()
        self._before_step: Callable[[], None] = lambda: None
        if self.streaming:
            self._set_up_streaming()

    def _choose_thresholds(self, name: str) -> dict[str, float]:
        generation = "v2" if self.streaming else "v1"
        values = POST_PROCESSING["none" if name == "none" else f"{generation}-{name}"]
        return dict(zip(POST_PROCESSING_KEYS, values, strict=True))

    def _set_up_streaming(self) -> None:
        step = getattr(self._model, "forward_streaming_step", None)
        if step is None:
            raise RuntimeError("this NeMo has no streaming Sortformer: 2.5 or later is needed")
        modules = self._model.sortformer_modules
        for name, frames in STREAMING.items():
            setattr(modules, name, frames)
        self._model.streaming_mode = True
        modules._check_streaming_parameters()  # noqa: SLF001 - NeMo's own examples call it

        def watched_step(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed through
            self._before_step()
            return step(*args, **kwargs)

        self._model.forward_streaming_step = watched_step

    @property
    def step_s(self) -> float | None:
        """Seconds of audio in one step; None where a recording is one single step."""
        return STREAMING["chunk_len"] * FRAME_S if self.streaming else None

    def bytes_needed(self, seconds: float) -> float:
        """What the recording takes in memory beyond the model, in bytes."""
        if self.streaming:
            return GIB + STREAMING_BYTES_PER_S * seconds
        return GIB + OFFLINE_BYTES_PER_FRAME2 * (seconds / FRAME_S) ** 2

    def check_length(self, seconds: float) -> None:
        """Refuse what this model cannot take.

        Raises:
            Refusal: 413.
        """
        if seconds <= self.max_seconds:
            return
        reason = "" if self.streaming else "the memory of an offline model grows with its square; "
        raise Refusal(
            413,
            "audio_too_long",
            f"The recording is longer than {self.max_seconds:.0f} s, the limit of {self.name} "
            f"(SORTFORMER_MAX_SECONDS): {reason}split it"
            + (", or run a streaming model." if reason else "."),
        )

    def check_memory(self, seconds: float) -> None:
        """Refuse what the machine's memory has no room for now.

        Raises:
            Refusal: 503.
        """
        needed, available = self.bytes_needed(seconds), available_bytes()
        if needed > available:
            raise unavailable(
                f"This recording needs about {needed / GIB:.1f} GiB of memory, and "
                f"{available / GIB:.1f} GiB are available now."
            )

    def diarize(
        self, wav: Path, seconds: float, before_step: Callable[[], None] = lambda: None
    ) -> list[dict[str, Any]]:
        """Find the turns of a recording.

        Args:
            wav: 16 kHz, mono, 16 bits, at least a second (`to_wav` makes it).
            seconds: how long the recording is without padding.
            before_step: called before each step of a streaming model; what it raises ends the work.

        Returns:
            {"start", "end", "speaker"}: seconds within the recording, and a label that holds for
            the whole of it; in order of their start. Turns of different people may overlap.
        """
        self._before_step = before_step
        # The only form that NeMo takes these in. JSON is YAML.
        thresholds = wav.with_suffix(".yaml")
        thresholds.write_text(json.dumps({"parameters": self._thresholds}))
        lines = self._model.diarize(
            audio=str(wav),
            batch_size=1,
            postprocessing_yaml=str(thresholds),
            num_workers=0,
            verbose=False,
        )[0]
        turns = []
        for line in lines:  # "0.000 14.480 speaker_1", one speaker after the other
            start, end, speaker = line.split()
            turn = {
                "start": round(max(0.0, float(start)), 3),
                "end": round(min(seconds, float(end)), 3),
                "speaker": speaker,
            }
            if turn["end"] > turn["start"]:
                turns.append(turn)
        return sorted(turns, key=lambda turn: (turn["start"], turn["end"], turn["speaker"]))


def available_bytes() -> float:
    """What the kernel could give now without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return float("inf")


# --- The diarizer's process -----------------------------------------------------------------------


@dataclass
class Job:
    """A recording that waits for its turn, or has it."""

    wav: Path
    seconds: float
    began: float | None = None
    steps: int = 0
    left: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    segments: list[dict[str, Any]] = field(default_factory=list)
    refusal: Refusal | None = None

    def before_step(self) -> None:
        """Count a step, or end the work that nobody waits for."""
        if self.left:
            raise ClientLeftError
        self.steps += 1


class Worker(threading.Thread):
    """The one thread that touches the model: loads it, then takes one recording after the other."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="model", daemon=True)
        self._settings = settings
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._current: Job | None = None
        self.places = threading.BoundedSemaphore(settings.waiting + 1)
        self.diarizer: SortformerDiarizer | None = None
        self.status = "loading"
        self.detail = "The model is being loaded."
        self.doomed = False
        """Whether this process has to end, and to be made anew."""

    def run(self) -> None:
        """Work for as long as this process lives."""
        self._load()
        while True:
            job = self._jobs.get()
            if not job.left:
                self._current = job
                self._do(job)
                self._current = None
            job.done.set()

    def _load(self) -> None:
        pause_s = 10
        while self.diarizer is None:
            chosen = self._settings
            try:
                self.diarizer = SortformerDiarizer(
                    chosen.model, chosen.device, chosen.post_processing, chosen.max_seconds
                )
            except Exception as error:
                log.exception("%s cannot be loaded; next attempt in %d s", chosen.model, pause_s)
                said = f"{type(error).__name__}: {error}"
                self.status = "failed"
                self.detail = f"The model {chosen.model} could not be loaded: {said[:500]}"
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 300)
        self.status = "ready"
        log.warning("%s is loaded on %s", self.diarizer.name, self.diarizer.device)

    def _do(self, job: Job) -> None:
        job.began = time.monotonic()
        try:
            diarizer = self.ready()
            diarizer.check_memory(job.seconds)
            job.segments = diarizer.diarize(job.wav, job.seconds, job.before_step)
        except ClientLeftError:
            pass
        except Refusal as refusal:
            job.refusal = refusal
        except Exception as error:
            if job.left:
                return  # its file is gone
            log.exception("a recording of %.0f s failed", job.seconds)
            text = str(error)
            if isinstance(error, MemoryError) or SHORTAGE.search(text):
                job.refusal = unavailable("Memory ran out on this recording.")
            elif GPU_FAULT.search(text):
                self.doomed = True
                job.refusal = unavailable("The GPU failed; the diarizer is started again.")
            else:
                message = "The diarizer failed on this recording; its log says why."
                job.refusal = Refusal(500, "diarization_failed", message)

    def ready(self) -> SortformerDiarizer:
        """The model.

        Raises:
            Refusal: 503 while there is none.
        """
        if self.diarizer is None:
            raise unavailable(self.detail)
        return self.diarizer

    @property
    def stuck(self) -> bool:
        """Whether the recording at hand takes longer than any honest work does."""
        job = self._current
        if job is None or job.began is None:
            return False
        return time.monotonic() - job.began > max(LEAST_LIMIT_S, 2 * job.seconds)

    def add(self, wav: Path, seconds: float) -> Job:
        """Queue a recording; whoever does holds one of the places."""
        job = Job(wav, seconds)
        self._jobs.put(job)
        return job

    def health(self) -> tuple[int, dict[str, Any]]:
        """The status, and what is shown."""
        shown: dict[str, Any] = {"status": self.status, "model": self._settings.model}
        if self.diarizer is None:
            shown["detail"] = self.detail
        else:
            shown |= {
                "mode": "streaming" if self.diarizer.streaming else "offline",
                "device": self.diarizer.device,
                "max_seconds": self.diarizer.max_seconds,
            }
        job = self._current
        shown |= {"busy": job is not None, "waiting": self._jobs.qsize(), "pid": os.getpid()}
        if job is not None and self.diarizer is not None:
            done_s = min(job.seconds, job.steps * (self.diarizer.step_s or 0.0))
            shown["work"] = {"audio_s": round(job.seconds, 1), "done_s": round(done_s, 1)}
        return 200 if self.status == "ready" else 503, shown


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """HTTP on the socket: a thread for each connection, of which Parakeet makes one a request."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, settings: Settings, worker: Worker) -> None:
        self.settings = settings
        self.worker = worker
        settings.socket.unlink(missing_ok=True)
        super().__init__(str(settings.socket), Handler)
        settings.socket.chmod(0o600)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """A connection that broke: what goes wrong in the work is logged where it happens."""
        log.debug("a connection broke")


class Handler(BaseHTTPRequestHandler):
    """One request; it comes from `Front` in Parakeet's process."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def handle_expect_100(self) -> bool:
        """Say "continue" only when a place is found: see do_POST."""
        return True

    def log_message(self, *_args: Any) -> None:  # noqa: ANN401 - the base class's signature
        """Parakeet's server has the access log."""

    def do_GET(self) -> None:
        """Answer GET /health."""
        status, shown = self.server.worker.health()
        headers = {} if status == HTTPStatus.OK else {"Retry-After": str(RETRY_S)}
        self._answer(status, json.dumps(shown).encode(), headers)

    def do_POST(self) -> None:
        """Answer POST /v1/audio/diarize."""
        try:
            self._answer(200, json.dumps(self._diarize()).encode(), {})
        except Refusal as refusal:
            self._answer(refusal.status, refusal.body, refusal.headers)
        except (ClientLeftError, ConnectionError):
            self.close_connection = True
        except Exception:  # a fault of ours; without an answer it would look like a crash
            log.exception("a request failed")
            failed = Refusal(500, "internal_error", "The diarizer failed; its log says why.")
            self._answer(failed.status, failed.body, failed.headers)
        if self.server.worker.doomed:
            os._exit(1)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True
        # What is not read yet is, for a while: a socket that is closed before loses the answer.
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(5)
        try:
            while self.rfile.read1(65536):
                pass
        except OSError:
            pass

    def _diarize(self) -> dict[str, Any]:
        worker = self.server.worker
        diarizer = worker.ready()
        if not worker.places.acquire(blocking=False):
            raise Refusal(
                429, "queue_full", "The diarizer has as many recordings as it takes.", RETRY_S
            )
        try:
            with tempfile.TemporaryDirectory(
                prefix="request-", dir=self.server.settings.folder, ignore_cleanup_errors=True
            ) as folder:
                self.send_response_only(HTTPStatus.CONTINUE)
                self.end_headers()
                upload, wav = Path(folder, "upload"), Path(folder, "audio.wav")
                self._receive(upload)
                seconds = to_wav(upload, wav, diarizer.max_seconds, self._check_client)
                diarizer.check_length(seconds)
                segments = self._wait_for(worker.add(wav, seconds))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            message = "The disk is full where uploads are kept (SORTFORMER_DIR)."
            raise Refusal(507, "storage_full", message) from None
        finally:
            worker.places.release()
        return {
            "duration": round(seconds, 3),
            "speakers_detected": len({segment["speaker"] for segment in segments}),
            "segments": segments,
            "model": diarizer.name,
        }

    def _receive(self, target: Path) -> None:
        limit = self.server.settings.max_bytes
        received = 0
        with target.open("wb") as file:
            form = Form(self.headers.get("Content-Type", ""), file)
            began = time.monotonic()
            for chunk in self._chunks():
                received += len(chunk)
                took_s = time.monotonic() - began
                if took_s > IDLE_S and received < took_s * LEAST_BYTES_PER_S:
                    message = f"The upload is slower than {LEAST_BYTES_PER_S} bytes per second."
                    raise Refusal(408, "upload_too_slow", message)
                if received > limit:
                    raise too_large(self.server.settings)
                form.write(chunk)
        form.check()

    def _chunks(self) -> Iterator[bytes]:
        try:
            while size := int(self.rfile.readline(20), 16):
                yield self.rfile.read(size)
                self.rfile.readline(3)
            self.rfile.readline(3)
        except ValueError:  # the connection ended, so nothing was read
            raise ClientLeftError from None
        except TimeoutError:
            message = f"Nothing came for {IDLE_S} s in the middle of the upload."
            raise Refusal(408, "upload_stalled", message) from None

    def _wait_for(self, job: Job) -> list[dict[str, Any]]:
        deadline = time.monotonic() + QUEUE_S
        try:
            while not job.done.wait(0.2):
                self._check_client()
                if job.began is None and time.monotonic() > deadline:
                    message = f"The recording waited {QUEUE_S} s for its turn."
                    raise Refusal(429, "queue_timeout", message, RETRY_S)
                if self.server.worker.stuck:
                    self.server.worker.doomed = True
                    raise unavailable("The diarizer is stuck; it is started again.")
        finally:
            job.left = True
        if job.refusal is not None:
            raise job.refusal
        return job.segments

    def _check_client(self) -> None:
        """Raise ClientLeftError where Parakeet hung up, as it does when its client leaves."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        if poll.poll(0) and not self.connection.recv(1, socket.MSG_PEEK):
            raise ClientLeftError


def too_large(settings: Settings) -> Refusal:
    """An upload over the limit."""
    limit = f"{settings.max_bytes} bytes (SORTFORMER_MAX_BYTES)"
    return Refusal(413, "upload_too_large", f"The upload is larger than {limit}.")


class Form:
    """Writes the field `file` of a multipart body to disk as it comes; other fields are dropped."""

    def __init__(self, content_type: str, file: BinaryIO) -> None:
        # The package's name before 0.0.13 was `multipart`, which another package has as well.
        name = "python_multipart" if importlib.util.find_spec("python_multipart") else "multipart"
        self._library = importlib.import_module(f"{name}.multipart")
        media_type, options = self._library.parse_options_header(content_type)
        if media_type != b"multipart/form-data" or not options.get(b"boundary"):
            message = "Send multipart/form-data with the recording in the field `file`."
            raise Refusal(400, "invalid_form", message)
        self._file = file
        self._header = bytearray()
        self._value = bytearray()
        self._is_file = False
        self._files = 0
        self._complete = False
        self._parser = self._library.MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._add(
                    self._header, data[start:end]
                ),
                "on_header_value": lambda data, start, end: self._add(self._value, data[start:end]),
                "on_header_end": self._end_header,
                "on_part_data": self._content,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Take the next part of the body.

        Raises:
            Refusal: 400, it is no form.
        """
        try:
            self._parser.write(chunk)
        except self._library.FormParserError as error:
            message = f"The form cannot be read: {error}."
            raise Refusal(400, "invalid_form", message) from None

    def check(self) -> None:
        """Refuse a form that has not come to its end, or had no file."""
        if not self._complete:
            raise Refusal(400, "invalid_form", "The form ends before its last boundary.")
        if self._files != 1:
            message = "Send one recording, as a file in the field `file`."
            raise Refusal(400, "missing_file", message)

    def _begin(self) -> None:
        self._is_file = False

    def _add(self, buffer: bytearray, data: bytes) -> None:
        buffer += data
        if len(buffer) > 4096:  # noqa: PLR2004 - more than any honest header
            raise Refusal(400, "invalid_form", "A header of the form is too long.")

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = self._library.parse_options_header(bytes(self._value))
            self._is_file = options.get(b"name") == b"file"
            self._files += self._is_file
        self._header.clear()
        self._value.clear()

    def _content(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._file.write(data[start:end])

    def _end(self) -> None:
        self._complete = True


def serve(parent: int) -> None:
    """Be the diarizer's process."""
    die_with_parent(parent)
    logging.basicConfig(format="sortformer: %(levelname)s: %(message)s")
    # NeMo's progress bars do not belong in a log; threads that spin while they wait slow Parakeet.
    os.environ["TQDM_DELAY"] = "86400"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Where a container's memory runs out the kernel takes this process, not Parakeet's.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    settings = Settings.from_environment(os.environ)
    for left in settings.folder.glob("request-*"):
        shutil.rmtree(left, ignore_errors=True)
    worker = Worker(settings)
    worker.start()
    with Server(settings, worker) as server:
        server.serve_forever()


# --- Decoding -------------------------------------------------------------------------------------

_DEMUXERS = (
    (rb"(RIFF|RF64|BW64).{4}WAVE", "wav"),
    (rb"FORM.{4}AIF[FC]", "aiff"),
    (rb"fLaC", "flac"),
    (rb"OggS", "ogg"),
    (rb"\x1a\x45\xdf\xa3", "matroska"),
    (rb".{4}(ftyp|moov|mdat|wide|free|skip)", "mov"),
    (rb"#!AMR", "amr"),
    (rb"caff", "caf"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (rb"\xff[\xf0\xf1\xf8\xf9]", "aac"),
    (rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]", "mp3"),
)
"""What begins which of FFmpeg's formats; only that one may open the file. FFmpeg's own guess would
open a playlist that is named .wav, and what it lists."""


def to_wav(
    source: Path, target: Path, max_seconds: float, check_client: Callable[[], None] = lambda: None
) -> float:
    """Make the WAV that NeMo reads of any recording: 16 kHz, mono, 16 bits, padded to a second.

    Args:
        source: an upload; it may be moved.
        target: where the WAV is put.
        max_seconds: nothing beyond is decoded, and the length that is returned is more than this.
        check_client: called now and then; what it raises ends the work.

    Returns:
        Seconds without the padding.

    Raises:
        Refusal: 400, 413 or 415: it cannot be decoded.
    """
    seconds = _canonical_seconds(source)
    if seconds is not None:
        source.rename(target)
        return seconds
    arguments = [str(source), str(target), str(max_seconds), str(os.getpid())]
    command = [sys.executable, str(Path(__file__).resolve()), "--decode", *arguments]
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    deadline = time.monotonic() + DECODE_S
    # Its lines are few and short: they fit the pipe, so that nobody need read along.
    with subprocess.Popen(  # noqa: S603 - no shell, our own file
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ, **threads}
    ) as child:
        try:
            while child.poll() is None:
                check_client()
                if time.monotonic() > deadline:
                    message = f"Decoding takes longer than {DECODE_S} s. Send WAV or FLAC."
                    raise Refusal(413, "audio_too_complex", message)
                time.sleep(0.02)
            output = child.stdout.read() if child.stdout else b""
        finally:
            child.kill()
    if child.returncode:
        raise Refusal(400, "decoder_failed", "The decoder crashed on this file. Send WAV or FLAC.")
    answer = json.loads(output)
    if "refusal" in answer:
        raise Refusal(*answer["refusal"])
    return float(answer["seconds"])


def _canonical_seconds(source: Path) -> float | None:
    """The length of what is a WAV of the wanted form already and a second long, else None."""
    try:
        with wave.open(str(source), "rb") as file:
            form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            frames = file.getnframes()
    except (wave.Error, EOFError):
        return None
    honest = source.stat().st_size >= 2 * frames
    return frames / RATE if form == (RATE, 1, 2) and honest and frames >= RATE else None


def decode(source: Path, target: Path, max_seconds: float) -> float:
    """Decode in this process; see to_wav."""
    with source.open("rb") as file:
        head = file.read(64)
    known = (name for magic, name in _DEMUXERS if re.match(magic, head, re.DOTALL))
    demuxer = next(known, None)
    if demuxer is None:
        message = "This is no audio format that is known here. Send wav, flac, mp3, ogg, m4a, webm."
        raise Refusal(415 if head else 400, "unsupported_format" if head else "empty_file", message)
    usable = 0
    for decoder in (_by_soundfile, _by_pyav, _by_ffmpeg):
        try:
            frames = _write(decoder(str(source), demuxer), target, max_seconds)
        except (ImportError, FileNotFoundError):
            continue  # this container has not got it
        usable += 1
        if frames:
            return frames / RATE
    if not usable:
        message = f"Nothing here decodes {demuxer} (neither PyAV nor ffmpeg). Send WAV or FLAC."
        raise Refusal(415, "unsupported_format", message)
    message = "The file cannot be decoded: it has no audio, or is damaged."
    raise Refusal(400, "invalid_audio", message)


def _write(parts: Iterator[bytes], target: Path, max_seconds: float) -> int:
    """Write 16-bit samples as they come; return how many came."""
    frames = 0
    with wave.open(str(target), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for part in parts:
            frames += len(part) // 2
            file.writeframesraw(part)
            if frames > max_seconds * RATE:
                break
        file.writeframesraw(bytes(2 * max(0, RATE - frames)))
    return frames


def _by_soundfile(source: str, demuxer: str) -> Iterator[bytes]:
    if demuxer not in ("wav", "aiff", "flac", "ogg", "mp3"):
        raise ImportError
    import numpy as np  # noqa: PLC0415 - soundfile's own requirement
    import soundfile  # noqa: PLC0415
    import soxr  # noqa: PLC0415 - comes with librosa, and that with NeMo

    try:
        with soundfile.SoundFile(source) as file:
            resampler = soxr.ResampleStream(file.samplerate, RATE, 1, dtype="float32")
            for block in file.blocks(blocksize=65536, dtype="float32", always_2d=True):
                last = file.tell() == file.frames
                mono = np.nan_to_num(block.mean(axis=1))
                samples = resampler.resample_chunk(mono, last=last)
                yield (samples.clip(-1, 1) * 32767).astype("<i2").tobytes()
    except soundfile.SoundFileError:
        return  # what came before counts; if nothing did, the next decoder has a try


def _by_pyav(source: str, demuxer: str) -> Iterator[bytes]:
    import av  # noqa: PLC0415

    options = {"protocol_whitelist": "none", "format_whitelist": demuxer}
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    try:
        with (
            Path(source).open("rb") as file,
            av.open(file, mode="r", format=demuxer, options=options) as container,
        ):
            for frame in container.decode(audio=0):
                frame.pts = None  # gaps must not be filled with invented samples
                for made in resampler.resample(frame):
                    yield bytes(made.planes[0])[: 2 * made.samples]
            for made in resampler.resample(None):
                yield bytes(made.planes[0])[: 2 * made.samples]
    except (av.FFmpegError, IndexError, ValueError):
        return


def _by_ffmpeg(source: str, demuxer: str) -> Iterator[bytes]:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-protocol_whitelist", "file", "-f", demuxer]
    output = ["-vn", "-ac", "1", "-ar", str(RATE), "-f", "s16le", "pipe:1"]
    with subprocess.Popen(  # noqa: S603 - no shell
        [*command, "-i", f"file:{source}", *output], stdout=subprocess.PIPE
    ) as process:
        while process.stdout and (part := process.stdout.read(65536)):
            yield part


def answer_decode(source: Path, target: Path, max_seconds: float, parent: int) -> None:
    """Be the process that decodes one file: print {"seconds"} or {"refusal"}."""
    die_with_parent(parent)
    for kind, value in (
        (resource.RLIMIT_AS, 4 * GIB),
        (resource.RLIMIT_CPU, DECODE_S),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (value if hard < 0 else min(value, hard), hard))
    try:
        answer: dict[str, Any] = {"seconds": decode(source, target, max_seconds)}
    except Refusal as refusal:
        answer = {"refusal": (refusal.status, refusal.code, refusal.message)}
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = "The disk is full where uploads are kept (SORTFORMER_DIR)."
        answer = {"refusal": (507, "storage_full", message)}
    sys.stdout.write(json.dumps(answer))


def main() -> None:
    """The parts that are processes of their own."""
    parser = argparse.ArgumentParser(description="Parts of the Sortformer patch; see attach().")
    parts = parser.add_mutually_exclusive_group(required=True)
    parts.add_argument("--serve", type=int, metavar="PARENT")
    parts.add_argument("--decode", nargs=4, metavar=("SOURCE", "TARGET", "SECONDS", "PARENT"))
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve)
    else:
        source, target, seconds, parent = chosen.decode
        answer_decode(Path(source), Path(target), float(seconds), int(parent))


if __name__ == "__main__":
    main()

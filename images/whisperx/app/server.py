"""The HTTP face of the engine."""

from __future__ import annotations

import asyncio
import hmac
import logging
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from images.whisperx.app import errors, work
from images.whisperx.app.diarization import SpeakerCount
from images.whisperx.app.engine import RETRY_AFTER_S, Engine, Health, Job, Unwanted
from images.whisperx.app.errors import ApiError
from images.whisperx.app.forms import (
    CommonFields,
    SpeakersFields,
    TranscriptionFields,
    check_fields,
    form_schema,
    read_form,
)
from images.whisperx.app.transcription import Wish
from proxy_app import __version__
from proxy_app.audio import AudioError, DecodeLimits, to_wav

log = logging.getLogger(__name__)

F = TypeVar("F", bound=CommonFields)
Body = dict[str, Any]
Plan = Callable[[F], Callable[[Job, Path], Body]]
"""Checks a request's fields and says what the inference thread will do with its audio."""

_CLIENT_GONE = 499
"""nginx's word for a client that hung up; it is for the log, nobody reads it."""


def create_app(engine: Engine, spool: Path) -> FastAPI:
    """The app around an engine.

    Args:
        engine: started and stopped with the app.
        spool: a folder of this app's own, removed when it ends; requests' files are in it while
            they are worked on.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        engine.stop()
        shutil.rmtree(spool, ignore_errors=True)

    app = FastAPI(
        title="WhisperX server",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    if engine.settings.api_key:
        app.add_middleware(KeyRequired, key=engine.settings.api_key)

    @app.get("/health", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """200 while loading or ready, 503 when failed or fatal; the same body in every state."""
        found = engine.health()
        if found.status in ("failed", "fatal"):
            response.status_code = 503
        return found

    @app.post("/v1/audio/transcriptions", openapi_extra=form_schema(TranscriptionFields))
    async def transcriptions(request: Request) -> Response:
        """Speech to text as OpenAI's API has it; `model` is accepted and has no effect."""
        transcriber = engine.transcriber  # an ApiError while it is not loaded

        def plan(fields: TranscriptionFields) -> Callable[[Job, Path], Body]:
            check_language(fields.language, transcriber.languages, transcriber.name)
            wish = Wish(fields.language, fields.prompt, fields.temperature)
            verbose = fields.response_format == "verbose_json"
            words = "word" in fields.timestamp_granularities
            return lambda job, path: work.transcribe(
                engine, job, path, wish, verbose=verbose, words=words
            )

        return await serve(request, engine, spool, TranscriptionFields, plan)

    @app.post("/v1/audio/transcribe-with-speakers", openapi_extra=form_schema(SpeakersFields))
    async def transcribe_with_speakers(request: Request) -> Response:
        """Speech to text with the speakers told apart."""
        transcriber, _ = engine.transcriber, engine.diarizer  # as above

        def plan(fields: SpeakersFields) -> Callable[[Job, Path], Body]:
            check_language(fields.language, transcriber.languages, transcriber.name)
            wish = Wish(fields.language, fields.prompt)
            count = SpeakerCount(fields.num_speakers, fields.min_speakers, fields.max_speakers)
            return lambda job, path: work.transcribe_with_speakers(
                engine, job, path, wish, count, words=fields.words
            )

        return await serve(request, engine, spool, SpeakersFields, plan)

    return app


async def serve(
    request: Request, engine: Engine, spool: Path, kind: type[F], plan: Plan[F]
) -> Response:
    """Take one upload through the house: read, decode, wait for its turn, work, answer.

    Its files are gone when this returns or raises, and its place is free.
    """
    began = time.monotonic()
    settings = engine.settings
    try:
        with engine.upload(), tempfile.TemporaryDirectory(dir=spool) as name:
            form = await read_form(request, Path(name), settings.max_upload_bytes)
            engine.refuse_if_fatal()  # the upload may have taken minutes
            todo = plan(check_fields(kind, form.fields))
            with engine.place():
                hung_up = asyncio.create_task(_hung_up(request))
                try:
                    duration_s = await _decoded(form.file, settings.max_audio_s)
                    job = Job(duration_s)
                    body = await engine.run(job, lambda: todo(job, form.file), hung_up)
                finally:
                    hung_up.cancel()
    except (ClientDisconnect, Unwanted):
        log.info("%s: the client hung up", request.url.path)
        return Response(status_code=_CLIENT_GONE)
    except asyncio.CancelledError:
        # Only the server does this, when it stops and has waited long enough.
        log.info("%s: given up, because the engine stops", request.url.path)
        message = "The engine is being stopped. Try again in a moment."
        raise ApiError(503, "engine_stopping", message, retry_after_s=RETRY_AFTER_S) from None
    took_s = time.monotonic() - began
    log.info("%s: %.1f s of audio, %.1f s", request.url.path, duration_s, took_s)
    return JSONResponse(body)


async def _decoded(file: Path, max_audio_s: float) -> float:
    """Make the file 16 kHz mono WAV in its place; its true length in seconds."""
    wav = file.with_suffix(".wav")
    try:
        info = await asyncio.to_thread(to_wav, file, wav, DecodeLimits(max_audio_s=max_audio_s))
    except AudioError as error:
        setting = " (ENGINE_MAX_AUDIO_S)" if error.code == "audio_too_long" else ""
        raise ApiError(
            error.status, error.code, f"{error.message}{setting}", param="file"
        ) from error
    wav.replace(file)
    return info.duration_s


async def _hung_up(request: Request) -> None:
    """Returns when the client closes the connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def check_language(language: str | None, known: Collection[str], model: str) -> None:
    """Refuse a language that the model cannot write.

    Raises:
        ApiError: 400. Whisper itself would write down German as English, without a word.
    """
    if language is None or language in known:
        return
    what = "is English-only" if set(known) == {"en"} else "does not know it"
    raise ApiError(
        400,
        "unsupported_language",
        f"language={language!r}: the model {model} {what}. Leave `language` out, or run the engine "
        "with another model (ENGINE_MODEL).",
        param="language",
    )


class KeyRequired:
    """ASGI middleware: every request but GET /health needs `Authorization: Bearer KEY`."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] == "http" and scope["path"] != "/health":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                message = "A key is needed (ENGINE_API_KEY): send `Authorization: Bearer KEY`."
                refusal = errors.answer(ApiError(401, "invalid_api_key", message))
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

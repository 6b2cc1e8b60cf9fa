"""The HTTP face of the server: OpenAI's transcriptions and models, and /health."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import Field
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from images.parakeet.app.service import Health, Service
from images.parakeet.app.writing import Writing
from images.serving import errors
from images.serving.errors import ApiError
from images.serving.forms import CommonFields, Form, check_fields, form_schema, read_form
from images.serving.models import RETRY_AFTER_S
from images.serving.recording import Recording
from images.serving.scheduling import Job, Unwanted
from proxy_app import __version__
from proxy_app.audio import AudioError, DecodeLimits, to_wav
from proxy_app.speech import Transcript, to_json, to_text, to_verbose_json

log = logging.getLogger(__name__)

_CLIENT_GONE = 499
"""nginx's word for a client that hung up; it is for the log, nobody reads it."""


class TranscriptionFields(CommonFields):
    """The fields of POST /v1/audio/transcriptions; `prompt` and `stream` have no effect."""

    response_format: Literal["json", "text", "verbose_json"] = "json"
    timestamp_granularities: list[Literal["word", "segment"]] = Field(["segment"])


def create_app(service: Service) -> FastAPI:
    """The app around a service, which is started and stopped with it."""
    settings, spool = service.settings, service.settings.spool
    created = int(time.time())

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        shutil.rmtree(spool, ignore_errors=True)  # what a killed one left
        spool.mkdir(parents=True, mode=0o700)
        service.start()
        yield
        service.stop()
        shutil.rmtree(spool, ignore_errors=True)

    app = FastAPI(
        title="Parakeet server",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    if settings.api_key:
        app.add_middleware(KeyRequired, key=settings.api_key)

    @app.get("/health", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """503 when failed or fatal, else 200; the same body in every state."""
        found = service.health()
        if found.status in ("failed", "fatal"):
            response.status_code = 503
        return found

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The one model there is, also while it is loaded."""
        owner = service.model.rpartition("/")[0] or "local"
        model = {"id": service.model, "object": "model", "created": created, "owned_by": owner}
        return {"object": "list", "data": [model]}

    @app.post("/v1/audio/transcriptions", openapi_extra=form_schema(TranscriptionFields))
    async def transcriptions(request: Request) -> Response:
        """Speech to text as OpenAI's API has it; `model` is accepted and has no effect."""
        try:
            return _answer(await _transcribe(request, service))
        except (ClientDisconnect, Unwanted):
            log.info("the client hung up")
            return Response(status_code=_CLIENT_GONE)
        except asyncio.CancelledError:
            # Only the server does this, when it stops and has waited long enough.
            message = "The server is being stopped. Try again in a moment."
            raise ApiError(503, "server_stopping", message, retry_after_s=RETRY_AFTER_S) from None

    return app


@dataclass(frozen=True, slots=True)
class _Done:
    """What was asked for, and what was found."""

    fields: TranscriptionFields
    transcript: Transcript


async def _transcribe(request: Request, service: Service) -> _Done:
    """Read, decode, wait for a turn, work. The upload's files are gone afterwards."""
    settings = service.settings
    recogniser = service.recogniser()
    service.requests.refuse_when_full()  # before the upload is read
    with service.uploads.entered(), tempfile.TemporaryDirectory(dir=settings.spool) as folder:
        form = await _read(request, Path(folder), settings.max_upload_bytes)
        fields = check_fields(TranscriptionFields, form.fields)
        language = _language(fields.language, service)
        with service.requests.entered():
            gone = asyncio.create_task(_hung_up(request))
            try:
                recording = await _decode(form.file, settings.max_audio_s)
                writing = Writing(recogniser, recording, settings.window_s)
                job, began = Job(recording.duration_s), time.monotonic()
                await service.run(job, writing.steps(), gone)
            finally:
                gone.cancel()
    log.info("%.1f s of audio, %.1f s", recording.duration_s, time.monotonic() - began)
    return _Done(fields, writing.transcript(language))


def _answer(done: _Done) -> Response:
    if done.fields.response_format == "text":
        return PlainTextResponse(to_text(done.transcript))
    if done.fields.response_format == "json":
        return JSONResponse(to_json(done.transcript))
    words = "word" in done.fields.timestamp_granularities
    return JSONResponse(to_verbose_json(done.transcript, words=words))


async def _read(request: Request, folder: Path, limit: int) -> Form:
    try:
        return await read_form(request, folder, limit)
    except ApiError as error:
        if error.code != "upload_too_large":
            raise
        message = f"The upload is larger than {limit} bytes (PARAKEET_MAX_UPLOAD_BYTES)."
        raise ApiError(error.status, error.code, message, param="file") from error


def _language(wanted: str | None, service: Service) -> str:
    """The language for the answer, or "" where nobody knows it.

    Raises:
        ApiError: 400, where the model is known not to have it: it would write nonsense instead.
    """
    known = service.recogniser().languages
    if wanted is None:
        return next(iter(known)) if len(known) == 1 else ""
    if known and wanted not in known:
        raise ApiError(
            400,
            "unsupported_language",
            f"language={wanted[:40]!r}: the model {service.model} can only do "
            f"{', '.join(sorted(known))}.",
            param="language",
        )
    return wanted


async def _decode(file: Path, max_audio_s: float) -> Recording:
    """Make the upload 16 kHz mono WAV, beside it."""
    wav = file.with_suffix(".wav")
    try:
        info = await asyncio.to_thread(to_wav, file, wav, DecodeLimits(max_audio_s=max_audio_s))
    except AudioError as error:
        setting = " (PARAKEET_MAX_AUDIO_S)" if error.code == "audio_too_long" else ""
        message = f"{error.message}{setting}"
        raise ApiError(error.status, error.code, message, param="file") from error
    return Recording(wav, info.duration_s)


async def _hung_up(request: Request) -> None:
    """Returns when the client closes the connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


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
                message = "A key is needed (PARAKEET_API_KEY): send `Authorization: Bearer KEY`."
                await errors.answer(ApiError(401, "invalid_api_key", message))(scope, receive, send)
                return
        await self._app(scope, receive, send)

"""The HTTP face of the server: OpenAI's transcriptions and models, and /health."""

from __future__ import annotations

import asyncio
import contextlib
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

from images.parakeet.app.service import Health, Service
from images.parakeet.app.writing import Writing
from images.serving.app import CLIENT_GONE, hung_up, make_app
from images.serving.errors import ApiError
from images.serving.forms import CommonFields, check_fields, form_schema, read_form
from images.serving.models import RETRY_AFTER_S
from images.serving.recording import Recording
from images.serving.scheduling import Job, Unwanted
from proxy_app.speech import Transcript, to_json, to_text, to_verbose_json

log = logging.getLogger(__name__)


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

    app = make_app(
        "Parakeet server",
        lifespan,
        service.health,
        Health,
        key=settings.api_key,
        key_setting="PARAKEET_API_KEY",
    )

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
            return Response(status_code=CLIENT_GONE)
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
        limit = settings.max_upload_bytes
        form = await read_form(request, Path(folder), limit, "PARAKEET_MAX_UPLOAD_BYTES")
        fields = check_fields(TranscriptionFields, form.fields)
        language = _language(fields.language, service)
        with service.requests.entered():
            gone = asyncio.create_task(hung_up(request))
            try:
                duration_s = await service.decoder.decode(form.file, gone)
                recording = Recording(form.file, duration_s)
                writing = Writing(recogniser, recording, settings.window_s)
                job, began = Job(duration_s), time.monotonic()
                await service.run(job, writing.steps(), gone)
            finally:
                gone.cancel()
    log.info("%.1f s of audio, %.1f s", duration_s, time.monotonic() - began)
    return _Done(fields, writing.transcript(language))


def _answer(done: _Done) -> Response:
    if done.fields.response_format == "text":
        return PlainTextResponse(to_text(done.transcript))
    if done.fields.response_format == "json":
        return JSONResponse(to_json(done.transcript))
    words = "word" in done.fields.timestamp_granularities
    return JSONResponse(to_verbose_json(done.transcript, words=words))


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

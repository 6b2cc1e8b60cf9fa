"""The HTTP face of the engine."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response

from images.serving.app import make_app
from images.serving.errors import ApiError
from images.serving.forms import form_schema
from images.serving.recording import Recording
from images.whisperx.app.answering import serve
from images.whisperx.app.diarization import SpeakerCount
from images.whisperx.app.engine import Engine, Health
from images.whisperx.app.forms import SpeakersFields, TranscriptionFields
from images.whisperx.app.transcription import Wish
from images.whisperx.app.work import ConversationWork, Tell, TranscriptionWork, Work


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

    app = make_app(
        "WhisperX server",
        lifespan,
        engine.health,
        Health,
        key=engine.settings.api_key,
        key_setting="ENGINE_API_KEY",
    )

    @app.post("/v1/audio/transcriptions", openapi_extra=form_schema(TranscriptionFields))
    async def transcriptions(request: Request) -> Response:
        """Speech to text as OpenAI's API has it; `model` is accepted and has no effect."""
        engine.gpu.refuse_if_lost()
        engine.whisper.require()

        def plan(fields: TranscriptionFields) -> Callable[[Recording, Tell], Work]:
            check_language(fields.language, engine.languages, engine.whisper.name)
            wish = Wish(fields.language, fields.prompt, fields.temperature)
            verbose = fields.response_format == "verbose_json"
            words = "word" in fields.timestamp_granularities
            return lambda recording, tell: TranscriptionWork(
                engine, recording, wish, tell, verbose=verbose, words=words
            )

        return await serve(request, engine, spool, TranscriptionFields, plan)

    @app.post("/v1/audio/transcribe-with-speakers", openapi_extra=form_schema(SpeakersFields))
    async def transcribe_with_speakers(request: Request) -> Response:
        """Speech to text with the speakers told apart."""
        engine.gpu.refuse_if_lost()
        engine.whisper.require()
        engine.diarizer.require()

        def plan(fields: SpeakersFields) -> Callable[[Recording, Tell], Work]:
            check_language(fields.language, engine.languages, engine.whisper.name)
            wish = Wish(fields.language, fields.prompt)
            count = SpeakerCount(fields.num_speakers, fields.min_speakers, fields.max_speakers)
            return lambda recording, tell: ConversationWork(
                engine, recording, wish, count, tell, words=fields.words
            )

        return await serve(request, engine, spool, SpeakersFields, plan)

    return app


def check_language(language: str | None, known: Collection[str], model: str) -> None:
    """Refuse a language that the model cannot write.

    Raises:
        ApiError: 400. Whisper itself would write down German as English, without a word.
    """
    if language is None or language in known:
        return
    raise ApiError(
        400,
        "unsupported_language",
        f"language={language[:40]!r}: the model {model} can only do {', '.join(sorted(known))}. "
        "Leave `language` out, or run the engine with another model (ENGINE_MODEL).",
        param="language",
    )

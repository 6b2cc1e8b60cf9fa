"""The HTTP face of the engine."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response

from images.serving.app import make_app
from images.serving.errors import ApiError
from images.serving.forms import form_schema
from images.serving.recording import Recording
from images.whisperx.app.answering import Make, Plan, serve
from images.whisperx.app.diarization import SpeakerCount
from images.whisperx.app.diarization.known import Reference
from images.whisperx.app.engine import Engine, Health
from images.whisperx.app.forms import SpeakersFields, SpokenFields, TranscriptionFields
from images.whisperx.app.transcription.model_files import TRANSLATING
from images.whisperx.app.work import ConversationWork, Question, TranscriptionWork


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

    def written(*, translate: bool) -> Plan[TranscriptionFields]:
        def plan(fields: TranscriptionFields, _references: int) -> Make:
            if translate:
                check_translation(engine)
            check_languages(fields, engine)
            wish = fields.wish(translate=translate, logprobs="logprobs" in fields.include)
            verbose = fields.response_format == "verbose_json"
            words = "word" in fields.timestamp_granularities
            return lambda sounds, tell: TranscriptionWork(
                engine, sounds.recording, wish, tell, verbose=verbose, words=words
            )

        return plan

    @app.post("/v1/audio/transcriptions", openapi_extra=form_schema(TranscriptionFields))
    async def transcriptions(request: Request) -> Response:
        """Speech to text as OpenAI's API has it; `model` is accepted and has no effect."""
        engine.gpu.refuse_if_lost()
        engine.whisper.require()

        return await serve(request, engine, spool, TranscriptionFields, written(translate=False))

    @app.post("/v1/audio/translations", openapi_extra=form_schema(TranscriptionFields))
    async def translations(request: Request) -> Response:
        """Speech of any language to English text; `language` is that of the speech."""
        engine.gpu.refuse_if_lost()
        engine.whisper.require()
        return await serve(request, engine, spool, TranscriptionFields, written(translate=True))

    @app.post("/v1/audio/transcribe-with-speakers", openapi_extra=form_schema(SpeakersFields))
    async def transcribe_with_speakers(request: Request) -> Response:
        """Speech to text with the speakers told apart, and named where their voices are known."""
        engine.gpu.refuse_if_lost()
        engine.whisper.require()
        engine.diarizer.require()

        def plan(fields: SpeakersFields, references: int) -> Make:
            check_languages(fields, engine)
            check_references(fields, references)
            return lambda sounds, tell: ConversationWork(
                engine, sounds.recording, fields.wish(), question(fields, sounds.references), tell
            )

        return await serve(request, engine, spool, SpeakersFields, plan)

    return app


def question(fields: SpeakersFields, references: Sequence[Recording]) -> Question:
    """What a request wants to know about the speakers."""
    known = zip(fields.known_speaker_names, references, strict=True)
    return Question(
        SpeakerCount(fields.num_speakers, fields.min_speakers, fields.max_speakers),
        [Reference(name, recording) for name, recording in known],
        words=fields.words,
        embeddings=fields.speaker_embeddings,
    )


def check_references(fields: SpeakersFields, references: int) -> None:
    """Refuse names without voices, and the reverse.

    Raises:
        ApiError: 400.
    """
    names = len(fields.known_speaker_names)
    if names != references:
        raise ApiError(
            400,
            "invalid_value",
            f"There are {names} known_speaker_names and {references} known_speaker_references: "
            "send a reference for each name, in the same order.",
            param="known_speaker_references",
        )


def check_languages(fields: SpokenFields, engine: Engine) -> None:
    """Refuse a language that the model cannot write.

    Raises:
        ApiError: 400. Whisper itself would write down German as English, without a word.
    """
    asked = [
        ("language", fields.language or ""),
        *(("languages", code) for code in fields.languages),
    ]
    for param, language in asked:
        if not language or language in engine.languages:
            continue
        known = ", ".join(sorted(engine.languages))
        raise ApiError(
            400,
            "unsupported_language",
            f"{param}={language[:40]!r}: the model {engine.whisper.name} can only do {known}. "
            f"Leave `{param}` out, or run the engine with another model (ENGINE_MODEL).",
            param=param,
        )


def check_translation(engine: Engine) -> None:
    """Refuse to translate with a model that would write down the words that were said.

    Raises:
        ApiError: 400, naming models that can.
    """
    if engine.can_translate:
        return
    raise ApiError(
        400,
        "model_cannot_translate",
        f"The model {engine.whisper.name} cannot translate; {', '.join(TRANSLATING)} can. Run the "
        "engine with one of them (ENGINE_MODEL).",
        param="model",
    )

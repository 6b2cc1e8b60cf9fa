"""The shared check: what every answer of /v1 has to be, whichever client asked.

OpenAI's document says it where it is present (TEST_DATA), and its Python SDK's types always: the
SDK itself builds its objects without looking, so they are validated here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionStreamEvent,
    TranscriptionVerbose,
)
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.shared import ErrorObject
from pydantic import BaseModel, TypeAdapter, ValidationError

from tests.api.openai_document import problems
from tests.clients.wire import Exchange

EVENTS = "text/event-stream"


class _Error(BaseModel):
    error: ErrorObject


class _Models(BaseModel):
    object: str
    data: list[Model]


class _Voice(BaseModel):
    id: str
    name: str


class _Voices(BaseModel):
    voices: list[_Voice]


class _Named(BaseModel):
    id: str


class _SpeechModels(BaseModel):
    models: list[_Named]


_ANY: Any = object()
_SHAPES: dict[tuple[str, str], tuple[str | None, Any]] = {
    ("/v1/models", "json"): ("ListModelsResponse", _Models),
    ("/v1/models/*", "json"): ("Model", Model),
    ("/v1/audio/voices", "json"): (None, _Voices),
    ("/v1/audio/models", "json"): (None, _SpeechModels),
    ("/v1/audio/transcriptions", "json"): ("CreateTranscriptionResponseJson", Transcription),
    ("/v1/audio/transcriptions", "verbose_json"): (
        "CreateTranscriptionResponseVerboseJson", TranscriptionVerbose,
    ),
    ("/v1/audio/transcriptions", "diarized_json"): (
        "CreateTranscriptionResponseDiarizedJson", TranscriptionDiarized,
    ),
    ("/v1/audio/transcriptions", EVENTS): (
        "CreateTranscriptionResponseStreamEvent", TranscriptionStreamEvent,
    ),
    ("/v1/audio/speech", EVENTS): ("CreateSpeechResponseStreamEvent", _ANY),
    ("/v1/chat/completions", "json"): (None, ChatCompletion),
    ("/v1/chat/completions", EVENTS): (None, ChatCompletionChunk),
    ("/v1/completions", "json"): (None, Completion),
    ("/v1/embeddings", "json"): (None, CreateEmbeddingResponse),
    ("/v1/responses", "json"): (None, Response),
    ("/v1/responses", EVENTS): (None, ResponseStreamEvent),
}  # fmt: skip
"""By address and form of the answer: the document's schema and the SDK's type, if there is one."""


def broken(exchange: Exchange, document: dict[str, Any] | None) -> list[str]:
    """What an answer breaks; DOCUMENT is OpenAI's, where it is present."""
    return [f"{exchange.method} {exchange.path}: {it}" for it in _broken(exchange, document)]


def _broken(exchange: Exchange, document: dict[str, Any] | None) -> Iterator[str]:
    if not exchange.path.startswith("/v1/") or exchange.kind not in ("application/json", EVENTS):
        return
    if exchange.status >= 400:
        yield from _mismatches(exchange.json(), "ErrorResponse", _Error, document)
        return
    schema, type_ = _shape(exchange)
    for answer in exchange.events() if exchange.kind == EVENTS else [exchange.json()]:
        is_error = exchange.kind == EVENTS and "error" in answer and "type" not in answer
        if is_error:
            yield from _mismatches(answer, "ErrorResponse", _Error, document)
        else:
            yield from _mismatches(answer, schema, type_, document)


def _shape(exchange: Exchange) -> tuple[str | None, Any]:
    path = exchange.path.partition("?")[0]
    if path.startswith("/v1/models/"):
        path = "/v1/models/*"
    form = "json"
    if exchange.kind == EVENTS:
        form = EVENTS
    elif path.startswith("/v1/audio/trans"):
        is_json = exchange.headers.get_content_type() == "application/json"
        sent = exchange.asked if is_json else exchange.form()[0]
        form = sent.get("response_format") or form
    return _SHAPES[path, form]


def _mismatches(
    answer: object,
    schema: str | None,
    type_: Any,  # noqa: ANN401 - a type, or a union of some
    document: dict[str, Any] | None,
) -> Iterator[str]:
    if schema and document:
        yield from problems(document, schema, answer)
    if type_ is not _ANY:
        try:
            _adapter(type_).validate_python(answer)
        except ValidationError as error:
            yield f"{type_}: {error}"


@cache
def _adapter(type_: Any) -> TypeAdapter[Any]:  # noqa: ANN401
    return TypeAdapter(type_)

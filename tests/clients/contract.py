"""The shared check: what every answer of /v1 has to be, whichever client asked.

OpenAI's document says it where it is present (TEST_DATA), and its Python SDK's types always: the
SDK itself builds its objects without looking, so they are validated here. What OpenAI does not
have, jobs, is as the gateway's own document says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs

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

from proxy_app.api.openapi import shapes
from tests.api.openai_document import problems
from tests.api.own_document import own_problems
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


@dataclass(frozen=True)
class _Own:
    """A shape of the gateway's own document."""

    kind: Any


_ANY: Any = object()
_TRANSCRIPTIONS, _JOBS = "/v1/audio/transcriptions", "/v1/audio/jobs"
_SHAPES: dict[tuple[str, str], tuple[str | None, Any]] = {
    ("/v1/models", "json"): ("ListModelsResponse", _Models),
    ("/v1/models/*", "json"): ("Model", Model),
    ("/v1/audio/voices", "json"): (None, _Voices),
    ("/v1/audio/models", "json"): (None, _SpeechModels),
    (_TRANSCRIPTIONS, "json"): ("CreateTranscriptionResponseJson", Transcription),
    (_TRANSCRIPTIONS, "verbose_json"): (
        "CreateTranscriptionResponseVerboseJson", TranscriptionVerbose,
    ),
    (_TRANSCRIPTIONS, "diarized_json"): (
        "CreateTranscriptionResponseDiarizedJson", TranscriptionDiarized,
    ),
    (_TRANSCRIPTIONS, EVENTS): (
        "CreateTranscriptionResponseStreamEvent", TranscriptionStreamEvent,
    ),
    ("/v1/audio/speech", EVENTS): ("CreateSpeechResponseStreamEvent", _ANY),
    ("/v1/chat/completions", "json"): (None, ChatCompletion),
    ("/v1/chat/completions", EVENTS): (None, ChatCompletionChunk),
    ("/v1/completions", "json"): (None, Completion),
    ("/v1/embeddings", "json"): (None, CreateEmbeddingResponse),
    ("/v1/responses", "json"): (None, Response),
    ("/v1/responses", EVENTS): (None, ResponseStreamEvent),
    (f"POST {_JOBS}", "json"): (None, _Own(shapes.AudioJob)),
    (f"GET {_JOBS}", "json"): (None, _Own(shapes.AudioJobList)),
    (f"{_JOBS}/*", "json"): (None, _Own(shapes.AudioJob)),
    (f"{_JOBS}/*/result", "json"): (None, _Own(shapes.Transcription)),
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
    path, _, query = exchange.path.partition("?")
    if path.startswith("/v1/models/"):
        path = "/v1/models/*"
    if path.startswith(_JOBS):
        return _of_jobs(exchange.method, path, query)
    form = "json"
    if exchange.kind == EVENTS:
        form = EVENTS
    elif path.startswith("/v1/audio/trans"):
        is_json = exchange.headers.get_content_type() == "application/json"
        sent = exchange.asked if is_json else exchange.form()[0]
        form = sent.get("response_format") or form
    return _SHAPES[path, form]


def _of_jobs(method: str, path: str, query: str) -> tuple[str | None, Any]:
    """A result that names its format is what the transcription would be."""
    if wanted := parse_qs(query).get("response_format"):
        return _SHAPES[_TRANSCRIPTIONS, wanted[0]]
    _job, _, rest = path.removeprefix(_JOBS).strip("/").partition("/")
    if path == _JOBS:
        return _SHAPES[f"{method} {path}", "json"]
    return _SHAPES[f"{_JOBS}/*/{rest}".rstrip("/"), "json"]


def _mismatches(
    answer: object,
    schema: str | None,
    type_: Any,  # noqa: ANN401 - a type, or a union of some
    document: dict[str, Any] | None,
) -> Iterator[str]:
    if schema and document:
        yield from problems(document, schema, answer)
    if isinstance(type_, _Own):
        yield from own_problems(type_.kind, answer)
    elif type_ is not _ANY:
        try:
            _adapter(type_).validate_python(answer)
        except ValidationError as error:
            yield f"{type_}: {error}"


@cache
def _adapter(type_: Any) -> TypeAdapter[Any]:  # noqa: ANN401
    return TypeAdapter(type_)

"""The shared check finds what is wrong: without that, its silence would say nothing."""

from __future__ import annotations

import json
from email.message import Message
from typing import Any

import pytest

from tests.clients.contract import broken
from tests.clients.wire import Exchange

TRANSCRIPTION = {"text": "Hello.", "usage": {"type": "duration", "seconds": 1}}
ERROR = {"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}}


def exchange(path: str, answer: object, *, status: int = 200, kind: str = "json") -> Exchange:
    asked, answered = Message(), Message()
    asked["Content-Type"] = "application/json"
    answered["Content-Type"] = "text/event-stream" if kind == "events" else "application/json"
    body = json.dumps(answer).encode()
    if kind == "events":
        body = b"data: " + body + b"\n\ndata: [DONE]\n\n"
    return Exchange("POST", path, asked, b"{}", status, answered, body)


def test_what_is_right_is_let_pass(document: dict[str, Any] | None) -> None:
    for one in (
        exchange("/v1/audio/transcriptions", TRANSCRIPTION),
        exchange("/v1/audio/speech", ERROR, status=400),
        exchange("/v1/audio/transcriptions", ERROR, kind="events"),
        exchange("/livez", "no JSON of /v1"),
    ):
        assert broken(one, document) == []
        assert broken(one, None) == []


@pytest.mark.parametrize(
    ("path", "answer", "status", "kind"),
    [
        ("/v1/audio/transcriptions", {"txt": "Hello."}, 200, "json"),
        ("/v1/audio/transcriptions", {"text": 5}, 200, "json"),
        ("/v1/audio/transcriptions", {"type": "transcript.text.delta"}, 200, "events"),
        ("/v1/audio/transcriptions", {"type": "transcript.text.unheard"}, 200, "events"),
        ("/v1/audio/transcriptions", {"error": {"message": "No."}}, 200, "events"),
        ("/v1/models", {"object": "list", "data": [{"id": "x"}]}, 200, "json"),
        ("/v1/audio/voices", {"voices": ["alloy"]}, 200, "json"),
        ("/v1/chat/completions", {"choices": []}, 200, "json"),
        ("/v1/chat/completions", {"detail": "No."}, 500, "json"),
        ("/v1/audio/speech", {"error": "No."}, 400, "json"),
    ],
)
def test_what_is_wrong_is_found_with_and_without_openais_document(
    path: str, answer: object, status: int, kind: str, document: dict[str, Any] | None
) -> None:
    wrong = exchange(path, answer, status=status, kind=kind)
    assert broken(wrong, document)
    assert broken(wrong, None)

"""The shared check finds what is wrong: without that, its silence would say nothing."""

from __future__ import annotations

import json
from email.message import Message
from typing import Any

import pytest

from tests.clients.contract import broken
from tests.clients.wire import Exchange

TRANSCRIPTION = {"text": "Hello.", "usage": {"type": "duration", "seconds": 1}}
JOB = {
    "id": "5f0c", "object": "audio.job", "status": "queued", "model": "", "served_by": None,
    "progress": {"stage": "waiting", "done_s": 0.0, "total_s": 0.0}, "response_format": "json",
    "error": None, "created_at": "2026-11-23T13:00:00.000+00:00", "started_at": None,
    "finished_at": None, "url": "/v1/audio/jobs/5f0c", "result": "/v1/audio/jobs/5f0c/result",
}  # fmt: skip
JOBS = "/v1/audio/jobs"
ERROR = {"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}}


def exchange(
    path: str, answer: object, method: str = "POST", *, status: int = 200, kind: str = "json"
) -> Exchange:
    asked, answered = Message(), Message()
    asked["Content-Type"] = "application/json"
    answered["Content-Type"] = "text/event-stream" if kind == "events" else "application/json"
    body = json.dumps(answer).encode()
    if kind == "events":
        body = b"data: " + body + b"\n\ndata: [DONE]\n\n"
    return Exchange(method, path, asked, b"{}", status, answered, body)


def test_what_is_right_is_let_pass(document: dict[str, Any] | None) -> None:
    for one in (
        exchange("/v1/audio/transcriptions", TRANSCRIPTION),
        exchange("/v1/audio/speech", ERROR, status=400),
        exchange("/v1/audio/transcriptions", ERROR, kind="events"),
        exchange("/livez", "no JSON of /v1"),
        exchange(JOBS, JOB, status=202),
        exchange(f"{JOBS}/5f0c", JOB),
        exchange(f"{JOBS}/5f0c/result", TRANSCRIPTION),
        exchange(f"{JOBS}/5f0c/result?response_format=json", TRANSCRIPTION),
        exchange(f"{JOBS}?limit=1", {"object": "list", "data": [JOB], "has_more": False}, "GET"),
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
        (JOBS, JOB | {"status": "almost"}, 202, "json"),
        (f"{JOBS}/5f0c", JOB | {"more": 1}, 200, "json"),
        (f"{JOBS}/5f0c", JOB | {"progress": {}}, 200, "json"),
        (f"{JOBS}/5f0c/result", {"txt": "Hello."}, 200, "json"),
        (f"{JOBS}/5f0c/result?response_format=verbose_json", {"text": "Hello."}, 200, "json"),
    ],
)
def test_what_is_wrong_is_found_with_and_without_openais_document(
    path: str, answer: object, status: int, kind: str, document: dict[str, Any] | None
) -> None:
    wrong = exchange(path, answer, status=status, kind=kind)
    assert broken(wrong, document)
    assert broken(wrong, None)

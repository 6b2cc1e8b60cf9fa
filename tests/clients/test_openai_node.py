"""OpenAI's Node SDK, unchanged but for its baseURL: one script of tests/clients/node per topic."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from proxy_app.watch.clip import CLIP, SPOKEN
from proxy_app.watch.words import likeness
from tests.clients.home import CLIENT_WITHIN_S, Home
from tests.clients.probed import FORMATS
from tests.standins.upstream_llm import NAME

SCRIPTS = Path(__file__).with_name("node")
HEARD = 0.8
Cases = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts, and the SDK that package-lock.json names."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no node and npm: apt install nodejs npm")
    folder = tmp_path_factory.mktemp("node")
    for file in SCRIPTS.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def ran(at: Home, folder: Path, script: str, **environ: str) -> Cases:
    """What a script's cases came to, by name: `got`, or `raised` and what the error says."""
    own = {"BASE_URL": at.v1, "API_KEY": at.key, "CLIP": str(CLIP), "MODEL": NAME}
    done = subprocess.run(
        ["node", f"{script}.mjs"],
        cwd=folder, env={"PATH": os.environ["PATH"], **own, **environ},
        capture_output=True, text=True, timeout=CLIENT_WITHIN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}


def got(cases: Cases, name: str) -> Any:  # noqa: ANN401 - any JSON
    case = cases[name]
    assert "raised" not in case, case
    return case["got"]


def is_heard(text: str) -> bool:
    return likeness(SPOKEN, text) > HEARD


def test_recordings_are_heard_however_they_are_sent_and_read(at: Home, scripts: Path) -> None:
    cases = ran(at, scripts, "transcriptions")
    for name in ("stream_of_a_file", "buffer_without_a_type", "file"):
        assert is_heard(got(cases, name)["text"]), name
    assert is_heard(got(cases, "text"))
    for name in ("srt", "vtt"):
        assert "-->" in got(cases, name)
    verbose = got(cases, "verbose_json")
    assert is_heard(" ".join(word["word"] for word in verbose["words"]))
    assert is_heard(" ".join(segment["text"] for segment in verbose["segments"]))
    diarized = got(cases, "diarized_json")["segments"]
    assert is_heard(" ".join(segment["text"] for segment in diarized))
    assert {segment["speaker"] for segment in diarized} == {"A"}

    events = got(cases, "stream")
    assert "".join(event.get("delta", "") for event in events) == events[-1]["text"]
    assert events[-1]["type"] == "transcript.text.done"
    said = [e for e in got(cases, "stream_of_speakers") if e["type"] == "transcript.text.segment"]
    assert is_heard(" ".join(event["text"] for event in said))

    refused = cases["translation"]
    assert (refused["raised"], refused["code"]) == ("BadRequestError", "model_cannot_translate")
    refused = cases["no_recording"]
    assert (refused["status"], refused["code"], refused["param"]) == (
        400, "unsupported_format", "file",
    )  # fmt: skip


def test_texts_are_said_in_every_format(at: Home, scripts: Path) -> None:
    cases = ran(at, scripts, "speech")
    for name, format_ in FORMATS.items():
        made = got(cases, name)
        assert made["type"] == format_.content_type
        format_.check(base64.b64decode(made["data"]), at_least_s=1.0)
    assert got(cases, "unsaid")["type"] == "audio/mpeg"
    FORMATS["mp3"].check(base64.b64decode(got(cases, "stream")), at_least_s=1.0)
    assert '"speech.audio.done"' in got(cases, "events")
    for name, param, code in (
        ("no_voice", "voice", "invalid_value"),
        ("too_long", "input", "string_above_max_length"),
        ("too_fast", "speed", "decimal_above_max_value"),
    ):
        refused = cases[name]
        assert (refused["raised"], refused["param"], refused["code"]) == (
            "BadRequestError", param, code,
        )  # fmt: skip
        assert refused["type"] == "invalid_request_error"


def test_language_models_answer(at: Home, scripts: Path) -> None:
    cases = ran(at, scripts, "language")
    assert {"whisper-1", "tts-1", NAME} <= set(got(cases, "models"))
    assert got(cases, "retrieved")["owned_by"] == "llm"
    assert (cases["no_model"]["status"], cases["no_model"]["code"]) == (404, "model_not_found")
    assert got(cases, "chat")["choices"][0]["message"]["content"] == "one two three"
    chunks = [chunk["choices"][0]["delta"]["content"] for chunk in got(cases, "chat_streamed")]
    assert chunks == ["one", " two", " three"]
    assert got(cases, "completion")["choices"][0]["text"] == "again"
    assert got(cases, "embeddings")["data"][0]["embedding"][0] == 2.0
    assert got(cases, "response") == "once more"
    assert got(cases, "response_streamed")[-1]["type"] == "response.completed"
    assert got(cases, "left") == "one"
    assert (cases["wrong_key"]["raised"], cases["wrong_key"]["status"]) == (
        "AuthenticationError", 401,
    )  # fmt: skip


def test_it_comes_back_when_it_is_told_to(at: Home, scripts: Path) -> None:
    key = at.command("control", "keys", "add", "node", "--per-minute", "1").strip()
    at.llm.behave("500", {})
    cases = ran(at, scripts, "retries", LIMITED_KEY=key)
    failing = got(cases, "failing")
    assert failing == {"waited": [59_000, 59_000], "code": [503, "upstream_unavailable"]}
    limited = got(cases, "limited")
    told = [int(it.answer_headers["Retry-After"]) for it in at.wire.exchanges() if it.status == 429]
    assert limited["code"] == [429, "rate_limit_exceeded"]
    assert limited["waited"] == [1000 * seconds for seconds in told[:2]]


def test_what_a_retry_cannot_mend_is_not_tried_again(at: Home, scripts: Path) -> None:
    at.llm.behave("401", {})
    cases = ran(at, scripts, "retries", LIMITED_KEY=at.key)
    assert got(cases, "failing")["waited"] == []
    assert got(cases, "failing")["code"] == [502, "upstream_misconfigured"]
    assert len(at.llm.received) == 3, "once for each"

"""OpenAI's endpoint on the real engine."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from openapi_schema_validator import OAS31Validator

from tests.data import test_data
from tests.engine.conftest import Running
from tests.engine.test_conversation import plain

TRANSCRIPTIONS = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def simple(engine: Running, short_wav: bytes) -> dict[str, Any]:
    """The answer without any field but `model`."""
    return transcribed(engine, short_wav, model="whisper-1")


@pytest.fixture(scope="module")
def verbose(engine: Running, short_wav: bytes) -> dict[str, Any]:
    """A verbose_json with words, as the SDKs ask for it."""
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    return transcribed(engine, short_wav, **fields)


def test_json_is_the_text(simple: dict[str, Any]) -> None:
    assert "didn't know you were there" in plain(simple["text"])
    assert "segments" not in simple


def test_verbose_json_has_segments_and_words_with_times(verbose: dict[str, Any]) -> None:
    assert (verbose["language"], verbose["duration"]) == ("english", 9.0)
    words = [plain(word["word"]) for word in verbose["words"]]
    assert words[:2] == ["hello", "hello"]
    assert " ".join(words) == " ".join(plain(verbose["text"]).split())
    assert all(0 <= word["start"] <= word["end"] <= 9 for word in verbose["words"])
    assert all(segment["tokens"] for segment in verbose["segments"])
    assert {segment["temperature"] for segment in verbose["segments"]} == {0.0}
    assert all(segment["avg_logprob"] < 0 for segment in verbose["segments"])


def test_a_prompt_changes_what_is_heard(
    engine: Running, short_wav: bytes, simple: dict[str, Any]
) -> None:
    prompt = "hello hello i did not know you were there"
    assert transcribed(engine, short_wav, prompt=prompt)["text"] != simple["text"]


def test_answers_have_the_shapes_of_openai_s_document(
    simple: dict[str, Any], verbose: dict[str, Any]
) -> None:
    check(simple, "CreateTranscriptionResponseJson")
    check(verbose, "CreateTranscriptionResponseVerboseJson")


def test_errors_have_the_shape_of_openai_s_document(engine: Running) -> None:
    check(engine.post(TRANSCRIPTIONS, b"").json(), "ErrorResponse")


def transcribed(engine: Running, audio: bytes, **fields: str) -> dict[str, Any]:
    answer = engine.post(TRANSCRIPTIONS, audio, **fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def check(body: dict[str, Any], schema: str) -> None:
    document = yaml.safe_load(test_data("openai-audio-openapi.yaml").read_text(encoding="utf-8"))
    reference = {"$ref": f"#/components/schemas/{schema}"}
    OAS31Validator({**reference, "components": document["components"]}).validate(body)

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


def test_json_is_the_text(engine: Running, short_wav: bytes) -> None:
    body = transcribed(engine, short_wav, model="whisper-1")
    assert "didn't know you were there" in plain(body["text"])
    assert "segments" not in body


@pytest.mark.parametrize("name", ["timestamp_granularities[]", "timestamp_granularities"])
def test_verbose_json_has_segments_and_words_with_times(
    engine: Running, short_wav: bytes, name: str
) -> None:
    fields = {"response_format": "verbose_json", name: "word"}
    body = transcribed(engine, short_wav, **fields)
    assert (body["language"], body["duration"]) == ("english", 9.0)
    words = [plain(word["word"]) for word in body["words"]]
    assert words[:2] == ["hello", "hello"]
    assert " ".join(words) == " ".join(plain(body["text"]).split())
    assert all(0 <= word["start"] <= word["end"] <= 9 for word in body["words"])
    assert all(segment["tokens"] for segment in body["segments"])
    assert {segment["temperature"] for segment in body["segments"]} == {0.0}
    assert all(segment["avg_logprob"] < 0 for segment in body["segments"])


def test_words_are_left_out_where_only_segments_are_asked_for(
    engine: Running, short_wav: bytes
) -> None:
    body = transcribed(engine, short_wav, response_format="verbose_json")
    assert "words" not in body
    assert body["segments"]


def test_a_prompt_changes_the_spelling(engine: Running, short_wav: bytes) -> None:
    plainly = transcribed(engine, short_wav)["text"]
    prompted = transcribed(engine, short_wav, prompt="hello hello i did not know you were there")[
        "text"
    ]
    assert prompted != plainly


@pytest.mark.parametrize(
    ("response_format", "schema"),
    [
        ("json", "CreateTranscriptionResponseJson"),
        ("verbose_json", "CreateTranscriptionResponseVerboseJson"),
    ],
)
def test_answers_have_the_shapes_of_openai_s_document(
    engine: Running, short_wav: bytes, response_format: str, schema: str
) -> None:
    fields = {"timestamp_granularities[]": "word", "response_format": response_format}
    check(transcribed(engine, short_wav, **fields), schema)


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

"""include[]=logprobs: how likely the recogniser found what it wrote, or a clear refusal."""

import json
from typing import Any

import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
)

from tests.api.conftest import Gateway
from tests.api.openai_document import problems
from tests.api.routed import LOADING, Routed
from tests.standins import upstream_whisperx
from tests.standins.upstream_whisperx import StandIn, logprobs

FIRST, SECOND = logprobs("Hello."), logprobs("Good morning, all.")


@pytest.mark.parametrize("name", ["include[]", "include"])
def test_json_has_them_as_the_recogniser_gave_them(
    gateway: Gateway, schema: dict[str, Any], name: str
) -> None:
    answer = gateway.transcribe(**{name: "logprobs", "model": "gpt-4o-transcribe"}).json()
    assert answer["logprobs"] == FIRST + SECOND
    assert not list(problems(schema, "CreateTranscriptionResponseJson", answer))
    told = Transcription.model_validate(answer).logprobs
    assert told is not None
    assert told[0].token == " Hello."
    assert bytes(int(byte) for byte in told[0].bytes or ()) == b" Hello."
    assert "logprobs" not in gateway.transcribe().json()


def test_a_stream_has_them_with_each_delta_and_all_at_the_end(
    gateway: Gateway, schema: dict[str, Any]
) -> None:
    fields = {"include[]": "logprobs", "model": "gpt-4o-transcribe"}
    with gateway.follow(**fields) as response:
        data = [line[6:] for line in response.iter_lines() if line.startswith(b"data: {")]
    first, second, done = map(json.loads, data)
    assert TranscriptionTextDeltaEvent.model_validate(first).logprobs
    assert TranscriptionTextDoneEvent.model_validate(done).logprobs
    assert (first["logprobs"], second["logprobs"]) == (FIRST, SECOND)
    assert done["logprobs"] == FIRST + SECOND
    assert not list(problems(schema, "TranscriptTextDoneEvent", done))


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"include[]": "tokens"}, "invalid_value", "Supported values are: 'logprobs'"),
        (
            {"include[]": "logprobs", "model": "gpt-4o-transcribe-diarize"},
            *("invalid_value", "Logprobs are not supported for diarization models"),
        ),
        *(
            (
                {"include[]": "logprobs", "response_format": format_},
                *("unsupported_value", f"response_format '{format_}' is not compatible"),
            )
            for format_ in ("text", "verbose_json", "srt", "vtt", "diarized_json", "rttm")
        ),
    ],
)
def test_what_cannot_have_them_is_refused(
    gateway: Gateway, standin: StandIn, fields: dict[str, str], code: str, said: str
) -> None:
    response = gateway.transcribe(**fields)
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["param"], error["code"]) == ("include[]", code)
    assert error["type"] == "invalid_request_error"
    assert said in error["message"]
    assert standin.received == []


def test_a_server_that_has_none_is_said_to_have_none(gateway: Gateway, standin: StandIn) -> None:
    standin.behave("ok", upstream_whisperx.transcription())
    response = gateway.transcribe(**{"include[]": "logprobs"})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "logprobs_unavailable")
    assert (error["param"], response.headers["x-should-retry"]) == ("include[]", "false")
    standin.behave("ok", upstream_whisperx.stream(speakers=False))
    with gateway.follow(**{"include[]": "logprobs"}) as stream:
        assert b'"logprobs_unavailable"' in stream.content
        assert b"[DONE]" not in stream.content


@pytest.mark.parametrize(
    "broken",
    [
        *([{"logprob": -1.0}], [{"bytes": [32], "logprob": "high"}], [{"bytes": [256]}]),
        *([{"bytes": ["x"], "logprob": -1.0}], [{"bytes": "x", "logprob": -1.0}], []),
    ],
)
def test_what_is_no_probability_is_not_passed_on(
    gateway: Gateway, standin: StandIn, broken: list[Any]
) -> None:
    answer = upstream_whisperx.transcription()
    answer["segments"][0]["logprobs"] = broken
    standin.behave("ok", answer)
    response = gateway.transcribe(**{"include[]": "logprobs"})
    assert response.json()["error"]["code"] == "logprobs_unavailable"


def test_silence_has_an_empty_list(gateway: Gateway, standin: StandIn) -> None:
    nothing = {"task": "transcribe", "language": "english", "duration": 5.0, "text": ""}
    standin.behave("ok", nothing | {"segments": [], "words": []})
    answer = gateway.transcribe(**{"include[]": "logprobs"}).json()
    assert (answer["text"], answer["logprobs"]) == ("", [])


def test_where_only_parakeet_could_answer_nothing_is_made_up(routed: Routed) -> None:
    routed.whisperx.health = LOADING
    routed.unregister("whisperx")
    response = routed.gateway.transcribe(**{"include[]": "logprobs"})
    assert response.status_code in (400, 503)
    assert response.json()["error"]["message"]
    assert "logprobs" not in response.json()

"""POST /api/audio/transcribe-with-speakers: who said what."""

import pytest

from tests.api.conftest import Gateway
from tests.api.recordings import canonical_wav, encoded
from tests.standins.upstream_whisperx import StandIn

PATH = "/api/audio/transcribe-with-speakers"


def test_the_answer_has_the_speakers_and_the_true_length(gateway: Gateway) -> None:
    response = gateway.transcribe(None, PATH)
    assert response.status_code == 200
    assert response.headers["x-served-by"] == "whisperx"
    assert response.json() == {
        "duration": 5.0,
        "language": "en",
        "speakers_detected": 2,
        "segments": [
            {"start_ms": 690, "end_ms": 1120, "speaker": "Speaker_0", "text": "Hello."},
            {
                "start_ms": 1500,
                "end_ms": 2900,
                "speaker": "Speaker_1",
                "text": "Good morning, all.",
            },
        ],
        "models": {"transcription": "stand-in", "diarization": "stand-in"},
    }


def test_what_the_engine_warns_of_reaches_the_client(gateway: Gateway, standin: StandIn) -> None:
    said = {"duration": 5.0, "language": "en", "segments": [], "models": {}}
    standin.behave("ok", said | {"warnings": ["The number given had no effect."]})
    answer = gateway.transcribe(None, PATH, num_speakers="2").json()
    assert answer["warnings"] == ["The number given had no effect."]


def test_silence_has_no_speakers(gateway: Gateway, standin: StandIn) -> None:
    empty = {"duration": 5.0, "language": "en", "speakers_detected": 3, "segments": []}
    standin.behave("ok", empty | {"models": {}})
    answer = gateway.transcribe(None, PATH).json()
    assert (answer["segments"], answer["speakers_detected"]) == ([], 0)


def test_a_short_recording_is_padded_for_the_engine_only(
    gateway: Gateway, standin: StandIn
) -> None:
    assert gateway.transcribe(canonical_wav(0.25), PATH).json()["duration"] == 0.25
    _fields, wav = standin.received[0].form()
    assert len(wav) == 44 + 32_000


def test_the_numbers_of_speakers_reach_the_engine(gateway: Gateway, standin: StandIn) -> None:
    gateway.transcribe(None, PATH, num_speakers="2", min_speakers="1", max_speakers="4")
    fields, _wav = standin.received[0].form()
    numbers = {name: fields[name] for name in ("num_speakers", "min_speakers", "max_speakers")}
    assert numbers == {"num_speakers": "2", "min_speakers": "1", "max_speakers": "4"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"min_speakers": "4", "max_speakers": "2"}, "min_speakers"),
        ({"num_speakers": "5", "max_speakers": "2"}, "num_speakers"),
        ({"num_speakers": "1", "min_speakers": "2"}, "num_speakers"),
    ],
)
def test_contradictory_numbers_are_refused(
    gateway: Gateway, standin: StandIn, fields: dict[str, str], param: str
) -> None:
    response = gateway.transcribe(None, PATH, **fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert standin.received == []


@pytest.mark.parametrize(("codec", "container"), [("libopus", "webm"), ("aac", "ipod")])
def test_any_recording_will_do(gateway: Gateway, codec: str, container: str) -> None:
    answer = gateway.transcribe(encoded(codec, container), PATH).json()
    assert answer["duration"] == pytest.approx(2.0, abs=0.1)

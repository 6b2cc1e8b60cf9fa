"""A 500 may be the service's fault or the recording's: who is told what, and what is noted."""

import os
import time
from pathlib import Path

import pytest
import requests

from tests.api.conftest import Gateway, running
from tests.api.recordings import canonical_wav
from tests.api.routed import AUDIO, PATH, Routed
from tests.api.test_streams import OPENAI, heard, last
from tests.standins.upstream_whisperx import StandIn

BAD = canonical_wav(3)
FAULT = {"error": {"message": "CUDA error: device-side assert triggered"}}


def met_a_500(response: requests.Response) -> None:
    assert response.status_code == 503
    assert (response.headers["Retry-After"], response.headers["retry-after-ms"]) == ("60", "59000")
    assert response.json()["error"]["code"] == "upstream_unavailable"


def is_to_blame(response: requests.Response) -> None:
    assert (response.status_code, response.headers["x-should-retry"]) == (422, "false")
    assert "Retry-After" not in response.headers
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("upstream_rejected_audio", "file")
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", [PATH, OPENAI])
def test_a_recording_that_fails_again_after_others_did_not_is_to_blame(
    gateway: Gateway, standin: StandIn, path: str
) -> None:
    standin.behave("500", FAULT)
    met_a_500(gateway.transcribe(BAD, path))
    standin.behave("ok")
    assert gateway.transcribe(AUDIO, path).status_code == 200
    standin.behave("500", FAULT)
    for _ in range(6):  # by whichever worker
        is_to_blame(gateway.transcribe(BAD, path))
    met_a_500(gateway.transcribe(AUDIO, path))


def test_while_the_service_answers_nothing_no_recording_is_to_blame(
    gateway: Gateway, standin: StandIn
) -> None:
    standin.behave("ok")
    assert gateway.transcribe(AUDIO).status_code == 200
    standin.behave("500", FAULT)
    for _ in range(4):
        met_a_500(gateway.transcribe(BAD))


def test_a_good_probe_counts_as_an_answer(gateway: Gateway, standin: StandIn) -> None:
    standin.behave("500", FAULT)
    met_a_500(gateway.transcribe(BAD))
    time.sleep(0.001)
    gateway.reports.answered("whisperx")
    is_to_blame(gateway.transcribe(BAD))


@pytest.mark.parametrize("path", [PATH, OPENAI])
def test_a_recording_that_was_answered_well_since_is_cleared(
    gateway: Gateway, standin: StandIn, path: str
) -> None:
    standin.behave("500", FAULT)
    met_a_500(gateway.transcribe(BAD, path))
    standin.behave("ok")
    assert gateway.transcribe(BAD, path).status_code == 200
    standin.behave("500", FAULT)
    met_a_500(gateway.transcribe(BAD, path))


def test_a_recording_is_known_by_its_sound_and_not_by_its_file(
    gateway: Gateway, standin: StandIn
) -> None:
    standin.behave("500", FAULT)
    met_a_500(gateway.transcribe(BAD))
    gateway.reports.answered("whisperx")
    listed = BAD[:36] + b"LIST\x04\x00\x00\x00abcd" + BAD[36:]
    is_to_blame(gateway.transcribe(listed))


@pytest.mark.parametrize("behaviour", ["502", "503", "reset", "half"])
def test_only_a_500_makes_a_recording_suspect(
    gateway: Gateway, standin: StandIn, behaviour: str
) -> None:
    standin.behave(behaviour, FAULT)
    met_a_500(gateway.transcribe(BAD))
    gateway.reports.answered("whisperx")
    met_a_500(gateway.transcribe(BAD))


def test_the_suspicion_is_over_after_ten_minutes(gateway: Gateway, standin: StandIn) -> None:
    standin.behave("500", FAULT)
    met_a_500(gateway.transcribe(BAD))
    (note,) = (gateway.state / "suspects").iterdir()
    os.utime(note, (time.time() - 601,) * 2)
    gateway.reports.answered("whisperx")
    met_a_500(gateway.transcribe(BAD))


@pytest.mark.parametrize("path", [PATH, OPENAI])
def test_a_stream_ends_with_the_same_verdict_also_after_text(
    gateway: Gateway, standin: StandIn, path: str
) -> None:
    error = {"type": "error", "status": 500, **FAULT}
    standin.behave("ok", [*heard("Hello.")[:-1], error])
    assert last(gateway, path)["error"]["code"] == "upstream_unavailable"
    gateway.reports.answered("whisperx")
    ended = last(gateway, path)
    assert ended["error"]["code"] == "upstream_rejected_audio"
    if path == PATH:
        assert (ended["status"], ended["retry_after_s"]) == (422, None)


def test_a_500_of_parakeet_is_treated_alike(routed: Routed) -> None:
    routed.unregister("whisperx")
    routed.parakeet.behave("500", FAULT)
    met_a_500(routed.gateway.transcribe(BAD, PATH))
    routed.parakeet.behave("ok")
    assert routed.gateway.transcribe(AUDIO, PATH).status_code == 200
    routed.parakeet.behave("500", FAULT)
    is_to_blame(routed.gateway.transcribe(BAD, PATH))


def test_a_suspect_is_still_answered_by_the_others(routed: Routed) -> None:
    routed.whisperx.behave("500", FAULT)
    for _ in range(2):
        assert routed.gateway.transcribe(BAD, PATH).status_code == 200
        routed.gateway.reports.answered("whisperx")


def test_one_verdict_is_enough_when_the_others_cannot_help(routed: Routed) -> None:
    routed.whisperx.behave("500", FAULT)
    routed.sortformer.behave("reset")
    met_a_500(routed.gateway.transcribe(BAD, PATH))
    routed.gateway.reports.answered("whisperx")
    is_to_blame(routed.gateway.transcribe(BAD, PATH))


@pytest.mark.parametrize(
    ("behaviour", "status"), [("500", 500), ("503", 503), ("reset", None), ("half", None)]
)
def test_a_failure_is_written_down_for_who_watches(
    gateway: Gateway, standin: StandIn, behaviour: str, status: int | None
) -> None:
    before = time.time()
    standin.behave(behaviour, FAULT)
    gateway.transcribe(BAD)
    failure = gateway.reports.last_failure("whisperx")
    assert failure is not None
    assert failure.status == status
    assert before <= failure.at <= time.time()
    assert "WhisperX" in failure.reason
    assert "CUDA" not in failure.reason


@pytest.mark.parametrize("behaviour", ["400", "413", "429", "404"])
def test_what_is_no_failure_of_the_service_is_not_written_down(
    standin: StandIn, tmp_path: Path, behaviour: str
) -> None:
    standin.behave(behaviour, {})
    with running(tmp_path, standin.port, SPEECH_WORKERS="1") as gateway:
        gateway.transcribe(BAD)
        assert gateway.reports.last_failure("whisperx") is None
        assert not gateway.reports.answered_since("whisperx", 0)


def test_a_timeout_is_written_down(strict_gateway: Gateway, standin: StandIn) -> None:
    standin.behave("hang")
    assert strict_gateway.transcribe().status_code == 504
    failure = strict_gateway.reports.last_failure("whisperx")
    assert failure is not None
    assert "time limit" in failure.reason


def test_a_failure_that_the_client_never_saw_is_written_down(routed: Routed) -> None:
    before = time.time()
    routed.whisperx.behave("reset")
    assert routed.gateway.transcribe(AUDIO, PATH).status_code == 200
    failure = routed.gateway.reports.last_failure("whisperx")
    assert failure is not None
    assert failure.at >= before
    for name in ("parakeet", "sortformer"):
        assert routed.gateway.reports.answered_since(name, before)
    assert not routed.gateway.reports.answered_since("whisperx", before)

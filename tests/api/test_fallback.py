"""WhisperX fails in the middle of a request: the answer still comes, or an honest error."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.api.conftest import eventually, free_port
from tests.api.routed import AUDIO, LOADING, PAIR, PATH, WORDS, Routed, segments, three_behind
from tests.api.test_streams import objects
from tests.standins import upstream_whisperx as engine
from tests.standins.blips import dialogue, recording

OPENAI = "/v1/audio/transcriptions"
TEXT = " ".join(word.text for word in WORDS)


def lines(routed: Routed, file: bytes = AUDIO, **fields: str) -> list[dict[str, Any]]:
    """All lines of our own stream."""
    response = routed.gateway.transcribe(file, PATH, stream="true", **fields)
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.iter_lines()]


def kinds(sent: list[dict[str, Any]]) -> list[str]:
    return [line["type"] for line in sent]


@pytest.mark.parametrize("stream", ["false", "true"])
@pytest.mark.parametrize(
    ("behaviour", "answer"),
    [
        ("500", {"error": {"message": "CUDA error: device-side assert triggered"}}),
        ("502", None),
        ("503", {"error": {"message": "loading"}}),
        ("half", None),
        ("reset", None),
        ("200", b"<html>"),
        ("200", {"segments": "none"}),
        ("404", {"detail": "Not Found"}),
        ("401", {"detail": "no"}),
    ],
)
def test_the_answer_comes_from_the_others(
    routed: Routed, behaviour: str, answer: object, stream: str
) -> None:
    routed.whisperx.behave(behaviour, answer)
    response = routed.gateway.transcribe(AUDIO, PATH, stream=stream)
    assert (response.status_code, response.headers["x-served-by"]) == (200, PAIR)
    last = json.loads(response.text.splitlines()[-1])
    whole = last["answer"] if stream == "true" else last
    assert whole["segments"] == segments(WORDS)
    assert routed.uploads() == [1, 1, 1], "each gets the recording once"


def test_it_comes_although_whisperx_is_killed_at_its_work(routed: Routed) -> None:
    port = free_port()
    command = [sys.executable, "-m", "tests.standins.upstream_whisperx", str(port), "hang"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            assert eventually(lambda: in_flight(port) == 0, within_s=30)
            routed.register("whisperx", base_url=f"http://127.0.0.1:{port}")
            with ThreadPoolExecutor(1) as pool:
                job = pool.submit(routed.gateway.transcribe, AUDIO, PATH)
                assert eventually(lambda: in_flight(port) == 1)
                assert routed.parakeet.received == []
                process.kill()
                response = job.result()
        finally:
            process.kill()
    assert (response.status_code, response.headers["x-served-by"]) == (200, PAIR)
    assert response.json()["segments"] == segments(WORDS)


def in_flight(port: int) -> int | None:
    """How many recordings are worked on there; None where nobody answers yet."""
    with contextlib.suppress(requests.ConnectionError):
        health: dict[str, int] = requests.get(f"http://127.0.0.1:{port}/health", timeout=10).json()
        return health["in_flight"]
    return None


@pytest.mark.parametrize("status", [400, 413, 422, 429])
def test_what_whisperx_refuses_is_not_tried_elsewhere(routed: Routed, status: int) -> None:
    routed.whisperx.behave(str(status), {"error": {"message": "no", "code": "some_code"}})
    for stream in ("false", "true"):
        response = routed.gateway.transcribe(AUDIO, PATH, stream=stream)
        assert (response.status_code, response.json()["error"]["code"]) == (status, "some_code")
    assert routed.uploads() == [2, 0, 0]


def test_for_a_translation_there_is_nothing_to_fall_back_on(routed: Routed) -> None:
    routed.whisperx.behave("503", {})
    assert routed.gateway.transcribe(AUDIO, "/v1/audio/translations").status_code == 503
    assert routed.uploads() == [1, 0, 0]


def test_beyond_the_diarizers_limit_whisperx_failure_is_told(routed: Routed) -> None:
    routed.register("sortformer", max_audio_s=10)
    routed.whisperx.behave("reset")
    response = routed.gateway.transcribe(recording([], 12), PATH)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "60")
    assert response.headers["x-served-by"] == "whisperx"
    assert routed.uploads() == [1, 0, 0]


def test_after_a_failure_whisperx_is_asked_how_it_is_before_it_gets_more(tmp_path: Path) -> None:
    with three_behind(tmp_path, SPEECH_WORKERS="1") as routed:
        assert routed.gateway.transcribe(AUDIO, PATH).headers["x-served-by"] == "whisperx"
        routed.whisperx.behave("reset")
        routed.whisperx.health = LOADING
        for _ in range(3):
            assert routed.gateway.transcribe(AUDIO, PATH).headers["x-served-by"] == PAIR
        assert len(routed.whisperx.received) <= 2, "what it said before the failure was believed"


@pytest.mark.parametrize("failing", ["parakeet", "sortformer"])
@pytest.mark.parametrize("behaviour", ["500", "reset"])
def test_one_of_the_two_fails_and_the_others_work_ends(
    routed: Routed, failing: str, behaviour: str
) -> None:
    routed.unregister("whisperx")
    standins = {"parakeet": routed.parakeet, "sortformer": routed.sortformer}
    bad = standins.pop(failing)
    (good,) = standins.values()
    good.behave("hang")
    bad.behave(behaviour, {"error": {"message": "CUDA error"}})
    response = routed.gateway.transcribe(AUDIO, PATH)
    assert (response.status_code, response.headers["x-served-by"]) == (503, failing)
    assert response.headers["Retry-After"] == "60"
    assert "CUDA" not in response.text
    assert not good.started.is_set() or good.hung_up.wait(10), "the other one goes on for nobody"


def test_a_refusal_of_one_of_the_two_reaches_the_client(routed: Routed) -> None:
    routed.unregister("whisperx")
    error = {"message": "Only English.", "param": "language", "code": "unsupported_language"}
    routed.parakeet.behave("400", {"error": error})
    response = routed.gateway.transcribe(AUDIO, PATH, language="de")
    assert response.status_code == 400
    assert response.json()["error"] == error | {"type": "invalid_request_error"}


@pytest.mark.parametrize("wrong", [{"segments": [{"start": "x"}]}, {"segments": 5}, b"[]"])
def test_turns_that_make_no_sense_are_503(routed: Routed, wrong: object) -> None:
    routed.unregister("whisperx")
    routed.sortformer.behave("200", wrong)
    assert routed.gateway.transcribe(AUDIO, PATH).status_code == 503


def test_a_client_that_hangs_up_ends_the_work_of_both(routed: Routed) -> None:
    routed.unregister("whisperx")
    routed.parakeet.behave("hang")
    routed.sortformer.behave("hang")
    boundary = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = boundary + AUDIO + b"\r\n--b--\r\n"
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    with routed.gateway.connect() as client:
        client.sendall(head.encode() + body)
        assert routed.parakeet.started.wait(10)
        assert routed.sortformer.started.wait(10)
        assert len(routed.gateway.files()) == 1, "one WAV on disk serves both"
    assert routed.parakeet.hung_up.wait(10)
    assert routed.sortformer.hung_up.wait(10)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    """A gateway that gives services 1.4 s, without WhisperX."""
    limits = {
        "SPEECH_QUEUE_DEADLINE_S": "0.4",
        "SPEECH_TIME_LIMIT_FLOOR_S": "1",
        "SPEECH_TIME_LIMIT_FACTOR": "0",
        "SPEECH_WORKERS": "1",
    }
    with three_behind(tmp_path_factory.mktemp("hasty"), **limits) as routed:
        routed.unregister("whisperx")
        yield routed


def test_the_time_limit_ends_the_work_of_both(hasty: Routed) -> None:
    hasty.parakeet.behave("drip")
    hasty.sortformer.behave("hang")
    response = hasty.gateway.transcribe(AUDIO, PATH)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "time_limit")
    assert response.headers["x-should-retry"] == "false"
    assert hasty.parakeet.hung_up.wait(10)
    assert hasty.sortformer.hung_up.wait(10)


def test_the_time_limit_holds_for_all_pieces_together(hasty: Routed) -> None:
    hasty.parakeet.reset()
    hasty.sortformer.reset()
    hasty.register("parakeet", max_audio_s=10)
    hasty.parakeet.takes_s = 0.6
    response = hasty.gateway.transcribe(recording([], 40), PATH)
    assert (response.status_code, response.headers["x-served-by"]) == (504, "parakeet")
    assert "1 s" in response.json()["error"]["message"]


def test_a_stream_of_both_brings_the_text_piece_by_piece_and_then_the_speakers(
    routed: Routed,
) -> None:
    words = dialogue(40, every_s=0.6)
    routed.unregister("whisperx")
    routed.register("parakeet", max_audio_s=10)
    sent = lines(routed, recording(words, 25.0))
    pieces = len(routed.parakeet.received)
    assert pieces >= 3
    piecewise = ["segments", "progress"] * pieces
    assert kinds(sent) == ["progress", *piecewise, "speakers", "end"]
    said = " ".join(
        s["text"] for line in sent if line["type"] == "segments" for s in line["segments"]
    )
    assert said == " ".join(word.text for word in words)
    done = [line["done_s"] for line in sent if line["type"] == "progress"]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.0, 25.0)
    assert sent[-2]["segments"] == sent[-1]["answer"]["segments"] == segments(words)
    routed.reset()
    routed.unregister("whisperx")
    assert routed.gateway.transcribe(recording(words, 25.0), PATH).json() == sent[-1]["answer"]


def test_openais_events_come_from_both_too(routed: Routed) -> None:
    routed.unregister("whisperx")
    response = routed.gateway.transcribe(
        AUDIO, OPENAI, stream="true", response_format="diarized_json"
    )
    *sent, done, end = objects(response.iter_lines())
    assert (end, done["text"]) == ("[DONE]", TEXT)
    assert "".join(event["delta"] for event in sent if "delta" in event) == TEXT
    told = [event for event in sent if event["type"] == "transcript.text.segment"]
    assert [event["speaker"] for event in told] == ["A", "B", "A"]


def test_a_stream_that_has_told_no_text_yet_goes_on_with_the_others(routed: Routed) -> None:
    routed.whisperx.behave("cut", [engine.PROGRESS])
    sent = lines(routed)
    assert sent[0]["type"] == "progress"
    assert "segments" in kinds(sent)
    assert sent[-1]["answer"]["segments"] == segments(WORDS)
    assert routed.uploads() == [1, 1, 1]


@pytest.mark.parametrize("path", [PATH, OPENAI])
def test_a_stream_that_has_told_text_ends_with_an_error_and_nobody_takes_over(
    routed: Routed, path: str
) -> None:
    told = engine.stream(speakers=True)[:2]
    routed.whisperx.behave("cut", told)
    response = routed.gateway.transcribe(
        AUDIO, path, stream="true", response_format="diarized_json"
    )
    if path == PATH:
        first, *sent = [json.loads(line) for line in response.iter_lines()]
        assert first["type"] == "progress"
    else:
        sent = list(objects(response.iter_lines()))
    assert len(sent) == 2
    assert sent[1]["error"]["code"] == "upstream_unavailable"
    assert response.headers["x-served-by"] == "whisperx"
    assert routed.uploads() == [1, 0, 0]


def test_an_error_of_the_others_ends_their_stream(routed: Routed) -> None:
    routed.unregister("whisperx")
    routed.sortformer.behave("hang")
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(lines, routed)
        assert routed.sortformer.started.wait(10)
        assert eventually(lambda: routed.parakeet.received)
        routed.sortformer.answer = b"<html>"
        routed.sortformer.release.set()
        sent = job.result()
    assert sent[-1]["type"] == "error"
    assert (sent[-1]["status"], sent[-1]["retry_after_s"]) == (503, 60)


def test_the_signs_of_life_are_sent_while_both_work(tmp_path: Path) -> None:
    with three_behind(tmp_path, app="tests.api.impatient:create_app()") as routed:
        routed.unregister("whisperx")
        routed.sortformer.behave("hang")
        response = routed.gateway.follow(PATH)
        with response:
            assert response.headers["x-served-by"] == PAIR
            coming = (json.loads(line) for line in response.iter_lines())
            reached = next(line for line in coming if line.get("stage") == "transcription")
            assert [next(coming), next(coming)] == [reached] * 2
            routed.sortformer.release.set()
            assert list(coming)[-1]["type"] == "end"

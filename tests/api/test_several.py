"""Several services of one kind: all of them work, and one takes over where another one dies."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import requests

from proxy_app.upstreams.probe import TIMEOUT_S
from tests.api.conftest import eventually, free_port
from tests.api.routed import AUDIO, PAIR, PATH, WORDS, Routed, segments, three_behind
from tests.api.test_fallback import in_flight
from tests.standins.blips import dialogue, recording
from tests.standins.upstream_parakeet import Parakeet, Sortformer
from tests.standins.upstream_whisperx import StandIn

TEXT = " ".join(word.text for word in WORDS)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    """A gateway of four workers."""
    with three_behind(tmp_path_factory.mktemp("four"), SPEECH_WORKERS="4") as routed:
        yield routed


@pytest.fixture
def several(four: Routed) -> Iterator[Routed]:
    four.reset()
    yield four
    for standin in four.standins.values():
        standin.release.set()


@pytest.fixture
def second() -> Iterator[Parakeet]:
    with Parakeet() as standin:
        yield standin


def submit(pool: ThreadPoolExecutor, routed: Routed, path: str) -> Future[requests.Response]:
    return pool.submit(routed.another, path)


def test_requests_are_shared_by_all_of_a_kind(several: Routed, second: Parakeet) -> None:
    several.add("second", "parakeet", second.port)
    both = [several.parakeet, second]
    for standin in both:
        standin.behave("hang")
    with ThreadPoolExecutor(8) as pool:
        jobs = []
        for count in range(8):
            jobs.append(submit(pool, several, "/v1/audio/transcriptions"))
            assert eventually(lambda: sum(it.working for it in both) == count + 1)  # noqa: B023
        assert [standin.working for standin in both] == [4, 4]
        for standin in both:
            standin.release.set()
        answers = [job.result() for job in jobs]
    assert {answer.json()["text"] for answer in answers} == {TEXT}
    served_by = [answer.headers["x-served-by"] for answer in answers]
    assert served_by == ["parakeet", "second"] * 4
    assert several.whisperx.received == []


def test_those_that_wait_count_as_well(several: Routed, second: Parakeet) -> None:
    """One that does one thing at a time gets less than one that queues."""
    several.register("parakeet", places=1)
    several.add("second", "parakeet", second.port, places=1)
    both = [several.parakeet, second]
    for standin in both:
        standin.behave("one_by_one")
    with ThreadPoolExecutor(6) as pool:
        jobs = []
        for count in range(6):
            jobs.append(submit(pool, several, "/v1/audio/transcriptions"))
            assert eventually(lambda: _wanted(several) == count + 1)  # noqa: B023
        assert [_of(several, name) for name in ("parakeet", "second")] == [3, 3]
        for standin in both:
            for _ in range(3):
                standin.steps.release()
        assert {job.result().status_code for job in jobs} == {200}
    assert [standin.most_at_once for standin in both] == [1, 1]


def _wanted(routed: Routed) -> int:
    return sum(_of(routed, name) for name in ("parakeet", "second"))


def _of(routed: Routed, name: str) -> int:
    return routed.gateway.places.wanted(name)


def test_one_that_is_not_ready_gets_nothing(several: Routed, second: Parakeet) -> None:
    several.add("a-first", "parakeet", second.port)
    second.health = (503, {"detail": "Loading."})
    for _ in range(8):
        response = several.gateway.transcribe(AUDIO)
        assert response.headers["x-served-by"] == "parakeet"
    assert second.received == []


def test_one_that_does_not_say_how_it_is_comes_behind_all_that_do(
    several: Routed, second: Parakeet
) -> None:
    several.add("a-first", "parakeet", second.port)
    second.health_takes_s = 3 * TIMEOUT_S
    others = ["parakeet", "whisperx"]
    for name in others:
        for _ in range(3):
            response = several.another()
            assert (response.status_code, response.headers["x-served-by"]) == (200, name)
        several.unregister(name)
    assert second.received == []
    # It may only be busy.
    response = several.another()
    assert (response.status_code, response.headers["x-served-by"]) == (200, "a-first")


@pytest.mark.parametrize("kind", ["parakeet", "whisperx"])
def test_one_that_is_killed_at_its_work_is_replaced_and_the_answer_is_whole(
    several: Routed, kind: str
) -> None:
    """Of four workers, whichever has it."""
    port = free_port()
    module = f"tests.standins.upstream_{kind}"
    command = [sys.executable, "-m", module, str(port), "hang"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            assert eventually(lambda: in_flight(port) == 0, within_s=30)
            several.add("a-first", kind, port)
            path = PATH if kind == "whisperx" else "/v1/audio/transcriptions"
            with ThreadPoolExecutor(1) as pool:
                job = submit(pool, several, path)
                assert eventually(lambda: in_flight(port) == 1)
                process.kill()
                response = job.result()
        finally:
            process.kill()
    assert (response.status_code, response.headers["x-served-by"]) == (200, kind)
    if kind == "parakeet":
        assert (response.json()["text"], several.uploads()) == (TEXT, [0, 1, 0])
    else:
        assert several.uploads() == [1, 0, 0]
    assert several.gateway.places.wanted("a-first") == 0


def test_one_that_dies_in_the_middle_of_a_long_recording_is_replaced_for_all_of_it(
    several: Routed, second: Parakeet
) -> None:
    words = dialogue(40, every_s=0.6)
    several.register("parakeet", max_audio_s=10)
    several.add("second", "parakeet", second.port)
    several.parakeet.behave("one_by_one")
    several.parakeet.steps.release()
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(several.gateway.transcribe, recording(words, 25.0))
        assert eventually(lambda: len(several.parakeet.received) == 2)
        several.parakeet.behave("500", {})
        several.parakeet.steps.release()
        several.stop("parakeet")
        for _ in range(5):
            several.parakeet.steps.release()
        response = job.result()
    assert response.json()["text"] == " ".join(word.text for word in words)


def test_a_stream_that_has_told_nothing_goes_on_with_the_next(
    several: Routed, second: Parakeet
) -> None:
    several.add("a-first", "parakeet", second.port)
    second.behave("reset")
    response = several.gateway.transcribe(AUDIO, stream="true")
    assert response.headers["x-served-by"] == "parakeet"
    assert f'"text": "{TEXT}"' in response.text


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_429_of_one_sends_the_recording_to_another_one_of_its_kind(
    several: Routed, stream: str
) -> None:
    busy = {"error": {"message": "40 min are waiting", "code": "busy"}}
    with StandIn() as idle:
        several.add("z-second", "whisperx", idle.port)
        several.whisperx.behave("429", busy)
        for _ in range(2):  # of two that have nothing to do the first by name is asked first
            path, more = "/v1/audio/transcriptions", {"prompt": "Hm.", "stream": stream}
            response = several.gateway.transcribe(AUDIO, path, **more)
            assert (response.status_code, response.headers["x-served-by"]) == (200, "z-second")
        assert len(several.whisperx.received) == 2
        assert several.uploads()[1:] == [0, 0]
        idle.behave("429", busy)
        response = several.gateway.transcribe(AUDIO, path, **more)
        assert (response.status_code, response.json()["error"]["code"]) == (429, "busy")
        assert several.uploads()[1:] == [0, 0], "Parakeet would pass over the prompt"


def test_any_parakeet_goes_with_any_sortformer(several: Routed, second: Parakeet) -> None:
    several.unregister("whisperx")
    several.add("a-first", "parakeet", second.port)
    second.behave("reset")
    response = several.gateway.transcribe(AUDIO, PATH)
    assert (response.status_code, response.headers["x-served-by"]) == (200, PAIR)
    assert response.json()["segments"] == segments(WORDS)


def test_of_two_pairs_the_one_on_the_same_host_is_preferred(
    several: Routed, second: Parakeet
) -> None:
    several.unregister("whisperx")
    with Sortformer() as other:
        several.add("a-first", "parakeet", second.port, host="spark-a")
        several.add("b-other", "sortformer", other.port, host="spark-b")
        several.register("parakeet", host="spark-b")
        several.register("sortformer", host="spark-c")
        response = several.gateway.transcribe(AUDIO, PATH)
        assert response.headers["x-served-by"] == "parakeet+b-other"


def test_what_one_of_a_pair_has_at_hand_counts(several: Routed, second: Parakeet) -> None:
    several.unregister("whisperx")
    with Sortformer() as other:
        several.add("a-first", "parakeet", second.port, host="a")
        several.add("a-other", "sortformer", other.port, host="a")
        several.register("parakeet", host="b")
        several.register("sortformer", host="b")
        for standin in (second, other, several.parakeet, several.sortformer):
            standin.behave("hang")
        with ThreadPoolExecutor(2) as pool:
            jobs = [submit(pool, several, PATH)]
            assert eventually(lambda: (second.working, other.working) == (1, 1))
            jobs.append(submit(pool, several, PATH))
            assert eventually(
                lambda: (several.parakeet.working, several.sortformer.working) == (1, 1)
            )
            for standin in (second, other, several.parakeet, several.sortformer):
                standin.release.set()
            served_by = [job.result().headers["x-served-by"] for job in jobs]
    assert served_by == ["a-first+a-other", PAIR]


def test_a_pair_that_has_told_text_is_replaced_by_nobody(several: Routed, second: Parakeet) -> None:
    several.unregister("whisperx")
    several.add("second", "parakeet", second.port)
    several.sortformer.behave("hang")
    response = several.gateway.follow(PATH, AUDIO)
    with response:
        told = response.iter_lines()
        while b'"segments"' not in next(told):
            pass
        several.sortformer.behave("500", {})
        several.sortformer.answer = b"<html>"
        several.sortformer.release.set()
        *_, last = told
    assert b'"error"' in last
    assert second.received == []


def test_a_whisperx_takes_over_from_another_one_before_the_pair(several: Routed) -> None:
    with StandIn() as other:
        several.add("a-first", "whisperx", other.port)
        other.behave("500", {})
        response = several.gateway.transcribe(AUDIO, PATH)
        assert response.headers["x-served-by"] == "whisperx"
        assert several.uploads() == [1, 0, 0]


def test_models_list_all_of_them(several: Routed, second: Parakeet) -> None:
    several.add("second", "parakeet", second.port, model="parakeet-tdt-0.6b-v2")
    second.health = (404, {})
    found = {it["id"]: it["served_by"] for it in several.gateway.get("/v1/models").json()["data"]}
    assert found["whisper-1"] == ["parakeet", "second", "whisperx"]
    assert found["parakeet-tdt-0.6b-v2"] == ["second", "parakeet", "whisperx"]
    assert found["gpt-4o-transcribe-diarize"] == ["whisperx", PAIR, "second+sortformer"]

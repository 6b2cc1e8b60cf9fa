"""Requests in flight and in line are bounded for each service, across all workers."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import requests

from proxy_app.services import Verdict
from tests.api.conftest import eventually
from tests.api.routed import AUDIO, PAIR, PATH, WORDS, Routed, three_behind

TEXT = " ".join(word.text for word in WORDS)
LIMITS = {"SPEECH_WORKERS": "2", "SPEECH_WAITING": "2"}


@pytest.fixture(scope="module")
def lined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    """A gateway in which two may wait for a service."""
    with three_behind(tmp_path_factory.mktemp("lined"), **LIMITS) as routed:
        yield routed


@pytest.fixture
def busy(lined: Routed) -> Iterator[Routed]:
    """Parakeet alone is there, and says nothing of a queue."""
    lined.reset()
    lined.unregister("whisperx")
    lined.parakeet.health = (200, {"model_loaded": True})
    lined.parakeet.behave("hang")
    yield lined
    for standin in lined.standins.values():
        standin.release.set()
    assert eventually(lambda: not lined.gateway.files())


def fill(pool: ThreadPoolExecutor, routed: Routed, count: int) -> list[Future[requests.Response]]:
    """So many requests, each behind the others."""
    jobs = []
    for number in range(count):
        jobs.append(pool.submit(routed.another))
        assert eventually(lambda: routed.gateway.places.wanted("parakeet") == number + 1)  # noqa: B023
    return jobs


def test_one_more_than_may_wait_is_429_at_once_and_the_others_are_answered(busy: Routed) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = fill(pool, busy, 3)
        refused = [busy.another() for _ in range(4)]
        counted = busy.gateway.get("/metrics").text
        busy.parakeet.release.set()
        assert [job.result().json()["text"] for job in jobs] == [TEXT] * 3
    for response in refused:
        assert (response.status_code, response.headers["Retry-After"]) == (429, "10")
        error = response.json()["error"]
        assert (error["code"], error["type"]) == ("queue_full", "rate_limit_error")
        assert response.headers["x-served-by"] == "parakeet"
    assert 'speech_inflight{service="parakeet"} 1.0' in counted
    assert 'speech_queue_depth{service="parakeet"} 2.0' in counted
    assert busy.parakeet.most_at_once == 1
    assert busy.gateway.places.wanted("parakeet") == 0


def test_a_full_line_is_no_reason_to_wait_where_another_one_can_do_it(busy: Routed) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = fill(pool, busy, 3)
        busy.register("whisperx")
        response = busy.another()
        assert (response.status_code, response.headers["x-served-by"]) == (200, "whisperx")
        busy.parakeet.release.set()
        assert {job.result().status_code for job in jobs} == {200}


def test_who_is_killed_holds_no_place_and_waits_for_none(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with three_behind(tmp_path_factory.mktemp("killed"), **LIMITS) as routed:
        routed.unregister("whisperx")
        routed.register("parakeet", places=1)
        routed.parakeet.behave("hang")
        with ThreadPoolExecutor(3) as pool:
            jobs = fill(pool, routed, 3)
            places = routed.gateway.places
            assert (places.held("parakeet"), places.waiting("parakeet")) == (1, 2)
            for worker in routed.gateway.workers():
                os.kill(worker, signal.SIGKILL)
            for job in jobs:
                with pytest.raises(requests.ConnectionError):
                    job.result()
        assert eventually(lambda: places.wanted("parakeet") == 0)
        routed.parakeet.behave("ok")
        assert eventually(lambda: _answers(routed))
        assert routed.gateway.transcribe(AUDIO).json()["text"] == TEXT
        counted = routed.gateway.get("/metrics").text
        assert 'speech_queue_depth{service="parakeet"} 0.0' in counted


def _answers(routed: Routed) -> bool:
    try:
        return routed.gateway.get("/livez").ok
    except requests.ConnectionError:
        return False


def test_who_leaves_the_line_makes_room(busy: Routed) -> None:
    boundary = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = boundary + AUDIO + b"\r\n--b--\r\n"
    head = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {len(body)}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    places = busy.gateway.places
    with ThreadPoolExecutor(1) as pool:
        jobs = fill(pool, busy, 1)
        with busy.gateway.connect() as client:
            client.sendall(head.encode() + body)
            assert eventually(lambda: places.waiting("parakeet") == 1)
        assert eventually(lambda: places.waiting("parakeet") == 0)
        assert places.held("parakeet") == 1
        busy.parakeet.release.set()
        assert jobs[0].result().status_code == 200
    assert len(busy.parakeet.received) == 1


@pytest.mark.parametrize(
    ("health", "fields", "places"),
    [
        ({"model_loaded": True}, {}, 1),
        ({"model_loaded": True, "queue": 2}, {}, 3),
        ({"model_loaded": True, "queue": 9}, {"places": 2}, 2),
        ({"model_loaded": True, "queue": -1}, {}, 1),
        ({"model_loaded": True, "queue": "x"}, {}, 1),
    ],
)
def test_a_service_gets_as_many_as_it_says_or_is_registered_with(
    busy: Routed, health: dict[str, object], fields: dict[str, object], places: int
) -> None:
    busy.parakeet.health = (200, health)
    busy.register("parakeet", **fields)
    with ThreadPoolExecutor(5) as pool:
        jobs = fill(pool, busy, places + 1)
        assert eventually(lambda: busy.parakeet.working == places)
        assert busy.gateway.places.waiting("parakeet") == 1
        busy.parakeet.release.set()
        assert {job.result().status_code for job in jobs} == {200}
    assert busy.parakeet.most_at_once == places


def test_answers_and_errors_say_in_which_state_the_service_is(busy: Routed) -> None:
    busy.parakeet.behave("ok")
    reports = busy.gateway.reports
    assert busy.gateway.transcribe(AUDIO).headers["x-upstream-state"] == "ready"
    with reports.watching(lambda: True):
        reports.tell("parakeet", Verdict("suspect", "", refuses=False))
        reports.tell("sortformer", Verdict("ready", "", refuses=False))
        response = busy.gateway.transcribe(AUDIO)
        assert response.headers["x-served-by"] == "parakeet"
        assert response.headers["x-upstream-state"] == "suspect"
        response = busy.gateway.transcribe(AUDIO, PATH)
        assert response.headers["x-served-by"] == PAIR
        assert response.headers["x-upstream-state"] == "suspect+ready"
        busy.parakeet.behave("500", {})
        response = busy.gateway.transcribe(AUDIO)
        assert (response.status_code, response.headers["x-upstream-state"]) == (503, "suspect")
        reports.tell("parakeet", Verdict("warming", "It loads.", refuses=True))
        response = busy.gateway.transcribe(AUDIO)
        assert (response.status_code, response.headers["x-upstream-state"]) == (503, "warming")
        assert "queue;dur=" in response.headers["Server-Timing"]
        reports.withdraw()
    assert "x-upstream-state" not in busy.gateway.get("/livez").headers

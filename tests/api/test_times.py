"""Where a request's time went: to places, services, the client's reading, or the gateway itself."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gevent
import pytest
import requests

from proxy_app.running.works import Task, Work
from proxy_app.speech import Transcript
from proxy_app.telemetry import Cost
from proxy_app.upstreams import End, Heard, Tell
from tests.api.conftest import eventually, taken
from tests.api.llm import CHAT, Talking, two_behind
from tests.api.recordings import canonical_wav
from tests.api.test_metrics import line_of, samples, value
from tests.standins.upstream_whisperx import StandIn

PARTS = ("upload_ms", "queue_ms", "upstream_ms", "send_ms", "overhead_ms")
HELD_S = 0.3
EVENTS = [b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n"]
END = End(Transcript((), 1.0), {})


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talking]:
    with two_behind(tmp_path_factory.mktemp("times"), SPEECH_LLM_PLACES="1") as talking:
        yield talking


@pytest.fixture
def llm(session: Talking) -> Talking:
    session.reset()
    return session


def line(llm: Talking, request_id: str) -> dict[str, Any]:
    """A request's line, in which every moment counts once."""
    found = line_of(llm, request_id)
    assert all(found[part] >= 0 for part in PARTS)
    assert sum(found[part] for part in PARTS) == pytest.approx(found["total_ms"], abs=0.01)
    return found


def held() -> float:
    """Wait; the milliseconds that it took at least."""
    began = time.monotonic()
    time.sleep(HELD_S)
    return (time.monotonic() - began) * 1000


def _labels(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def test_waiting_for_a_service_is_its_time_also_where_the_client_hangs_up(llm: Talking) -> None:
    before = samples(llm)
    llm.first.behave("stepwise", EVENTS)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(llm.ask, stream=True, headers={"x-request-id": "left"})
        assert eventually(lambda: llm.first.received)
        waited_ms = held()
        llm.first.steps.release()
        with asked.result() as answer:
            assert answer.raw.read1(100)
            waited_ms += held()
    found = line(llm, "left")
    assert found["upstream_ms"] >= waited_ms
    assert found["overhead_ms"] > 0
    for metric, labels, part in (
        ("speech_upstream_duration_seconds_sum", {"service": "first"}, "upstream_ms"),
        ("speech_overhead_seconds_sum", {"route": CHAT}, "overhead_ms"),
    ):
        counted = value(llm, metric, **labels) - before.get((metric, _labels(**labels)), 0.0)
        assert counted == pytest.approx(found[part] / 1000, abs=1e-5)


def test_a_clients_slow_reading_is_no_services_time(llm: Talking) -> None:
    llm.first.behave("flood")
    with llm.ask(stream=True, headers={"x-request-id": "slow"}) as answer:
        answer.raw.read1(10)
        most = -1
        while most != llm.first.flooded:  # until it is not taken any more
            most = llm.first.flooded
            eventually(lambda: llm.first.flooded > most, within_s=0.5)  # noqa: B023
        waited_ms = held()
    assert line(llm, "slow")["send_ms"] >= waited_ms


def test_waiting_for_a_place_is_seen_while_it_lasts_and_counted_as_such(llm: Talking) -> None:
    metric = "speech_queue_duration_seconds_sum"
    before = value(llm, metric, service="first")
    with ThreadPoolExecutor(1) as pool:
        with taken(llm.gateway, "first", 1):
            asked = pool.submit(llm.ask, headers={"x-request-id": "queued"})
            assert eventually(lambda: value(llm, "speech_queue_depth", service="first") == 1)
            waited_ms = held()
        assert asked.result().ok
    found = line(llm, "queued")
    assert found["queue_ms"] >= waited_ms
    assert value(llm, metric, service="first") - before >= waited_ms / 1000
    assert value(llm, "speech_queue_depth", service="first") == 0


def test_no_place_in_time_is_a_wait_and_no_services_work(tmp_path: Path) -> None:
    limits = {"SPEECH_LLM_PLACES": "1", "SPEECH_QUEUE_DEADLINE_S": "0.2"}
    with two_behind(tmp_path, **limits) as llm, taken(llm.gateway, "first", 1):
        assert llm.ask(headers={"x-request-id": "refused"}).status_code == 429
        found = line(llm, "refused")
    assert (found["upstream_ms"], found["queue_ms"] >= 200) == (0, True)


def test_the_head_of_an_answer_says_no_more_than_is_known_then(llm: Talking) -> None:
    number = r"dur=[\d.]+"
    whole = llm.ask().headers["Server-Timing"]
    assert re.fullmatch(f"queue;{number}, first;{number}, upstream;{number}, total;{number}", whole)
    with llm.ask(stream=True) as answer:
        assert re.fullmatch(f"queue;{number}, first;{number}", answer.headers["Server-Timing"])


def test_a_stream_of_words_that_is_left_has_taken_its_service_so_long(
    llm: Talking, engine: StandIn
) -> None:
    engine.reset()
    engine.behave("stepwise")
    engine.steps.release(2)
    llm.register("whisperx", engine.port, kind="speakers", api="whisperx")
    with requests.post(
        f"{llm.gateway.url}/api/audio/transcribe-with-speakers",
        files={"file": ("a.wav", canonical_wav(4))}, data={"stream": "true"}, stream=True,
        headers={"x-request-id": "words"}, timeout=20,
    ) as answer:  # fmt: skip
        assert "upstream" not in answer.headers["Server-Timing"]
        assert answer.raw.read1(100)
        waited_ms = held()
    engine.release.set()
    assert line(llm, "words")["upstream_ms"] >= waited_ms


def test_while_nobody_takes_what_was_told_no_service_is_at_work() -> None:
    cost = Cost()

    def run(tell: Tell) -> End:
        with cost.at_service("one", nullcontext()):
            for _ in range(3):
                tell(Heard(()))
        return END

    began = time.monotonic()
    task = Task(run, lambda: "one", cost, lambda: None)
    work = Work(task, deserted=lambda _: None, forget=lambda _: None)
    events = work.follow().events()
    next(events)
    waited_from = time.monotonic()
    gevent.sleep(HELD_S)
    waited_s = time.monotonic() - waited_from
    assert len(list(events)) == 3
    # What it did before it had to wait, while this one waited already, is work.
    assert cost.upstream_s <= time.monotonic() - began - waited_s / 2

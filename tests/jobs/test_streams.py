"""A job's events over SSE: all of them, once each, in order, whatever breaks in between."""

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from proxy_app.api import job_stream
from proxy_app.api.relay import Relay
from proxy_app.jobs.processes import children
from proxy_app.store import Job
from tests.jobs.house import House, eventually, settings
from tests.jobs.orders import an_order
from tests.jobs.told import Told, hosts
from tests.jobs.web import Event, Web, serving


@pytest.fixture(scope="module")
def inhabited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Web]]:
    house = House(settings(tmp_path_factory.mktemp("streams")))
    with serving(house) as web:
        yield house, web
    house.room.close()


@pytest.fixture
def house(inhabited: tuple[House, Web]) -> House:
    return inhabited[0]


@pytest.fixture
def web(inhabited: tuple[House, Web]) -> Web:
    return inhabited[1]


@pytest.fixture
def told(house: House) -> Told:
    return Told(house)


def ids(events: list[Event]) -> list[int]:
    return [event.id for event in events if event.id is not None]


def test_a_stream_has_everything_once_and_ends_with_the_job(web: Web, told: Told) -> None:
    told.events.phase("Build", "running")
    told.log(*range(3))
    with web.stream(told.path) as stream:
        events = iter(stream)
        first = [next(events) for _ in range(5)]
        told.log(3)
        fourth = next(events)
        told.end()
        rest = list(events)
    assert [event.name for event in first] == ["status", "phase", "log", "log", "log"]
    assert ids([*first, fourth]) == [1, 2, 3, 4, 5]
    assert first[0].data["state"] == "running"
    assert first[1].data["name"] == "Build"
    assert fourth.data["text"] == "line 3"
    assert [event.name for event in rest] == ["status", "end"]
    assert rest[0].data["state"] == "succeeded"
    assert rest[1].data == {"state": "succeeded", "reason": "It ran."}
    assert stream.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert stream.response.headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize("how", ["Last-Event-ID", "after"])
def test_a_client_that_comes_back_goes_on_without_gap_or_double(
    web: Web, told: Told, how: str
) -> None:
    told.log(*range(10))
    seen: list[int] = []
    for count in (1, 4, 2):
        after = str(seen[-1] if seen else 0)
        headers = {"Last-Event-ID": after} if how == "Last-Event-ID" else {}
        path = told.path if headers else f"{told.path}?after={after}"
        with web.stream(path, **headers) as stream:
            events = (event for event in stream if event.id is not None)
            seen += [event.id or 0 for event in itertools.islice(events, count)]
    told.end()
    with web.stream(told.path, **{"Last-Event-ID": str(seen[-1])}) as stream:
        last = list(stream)
    assert seen + ids(last) == list(range(1, 11))
    assert last[-1].name == "end"


def test_what_was_seen_to_the_end_ends_again_at_once(web: Web, told: Told) -> None:
    told.log(1)
    told.end()
    for after in ("1", "99"):
        with web.stream(f"{told.path}?after={after}") as stream:
            assert [event.name for event in stream] == ["status", "end"]


def test_a_job_that_has_not_begun_is_waited_for(web: Web, house: House) -> None:
    job = house.room.jobs.add(an_order(host=next(hosts)))
    with web.stream(f"/api/jobs/{job.id}/stream") as stream:
        events = iter(stream)
        assert next(events).data["state"] == "queued"
        house.room.jobs.cancel(job.id)
        assert [event.name for event in events] == ["status", "end"]


def test_a_job_that_loses_its_process_is_told_to_be_lost(web: Web, told: Told) -> None:
    with web.stream(told.path) as stream:
        events = iter(stream)
        next(events)
        told.log(1)
        os.close(told._lock)
        *_, end = list(events)
    assert (end.name, end.data["state"]) == ("end", "lost")


def test_nothing_of_a_text_can_be_taken_for_another_event(web: Web, told: Told) -> None:
    evil = "x\n\nevent: end\ndata: {}\n\r\u2028<script>alert(1)</script>"
    told.events.log(evil)
    told.end()
    with web.stream(told.path) as stream:
        names = [(event.name, event.data.get("text")) for event in stream]
    assert [name for name, _ in names] == ["status", "log", "end"]
    assert names[1][1] == evil.replace("\r", "\n")


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 40])
def test_a_place_that_there_cannot_be_is_refused(web: Web, told: Told, after: str) -> None:
    assert web.get(f"{told.path}?after={after}").status_code == 400
    told.end()


def test_a_silent_stream_says_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert job_stream.PING_S == 15
    monkeypatch.setattr(job_stream, "PING_S", 0.02)

    def work(put: Callable[[bytes], None]) -> None:
        put(b"event: status\n\n")
        gevent.sleep(0.2)
        put(b"")

    first, *rest = job_stream._pieces(Relay({}, work), lambda: True)
    assert first == b"event: status\n\n"
    assert len(rest) > 2
    assert set(rest) == {b": ping\n\n"}


def test_a_client_that_hangs_up_leaves_nothing(web: Web, told: Told) -> None:
    def open_events() -> int:
        path = str(told.house.room.jobs.folder(told.job.id).events)
        return sum(path in link for link in links(web))

    told.log(*range(5))
    streams = [web.stream(told.path) for _ in range(20)]
    for stream in streams:
        next(iter(stream))
    assert open_events() == 20
    sockets = sum("socket:" in link for link in links(web))
    for stream in streams:
        stream.response.close()
    assert eventually(lambda: open_events() == 0)
    assert eventually(lambda: sum("socket:" in link for link in links(web)) <= sockets - 20)
    told.end()


def links(web: Web) -> list[str]:
    """What the gateway's worker has open."""
    (worker,) = children(web.process.pid)
    found = []
    for link in Path(f"/proc/{worker}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found


def test_many_who_watch_all_get_everything(web: Web, told: Told) -> None:
    answers: list[list[int]] = []

    def watch() -> None:
        with web.stream(told.path) as stream:
            answers.append(ids(list(stream)))

    threads = [threading.Thread(target=watch) for _ in range(60)]
    for thread in threads:
        thread.start()
    for number in range(50):
        told.log(number)
    told.end()
    for thread in threads:
        thread.join(60)
    assert answers == [list(range(1, 51))] * 60


def test_a_gateway_that_stops_does_not_wait_for_those_who_watch(house: House, told: Told) -> None:
    with serving(house) as web, web.stream(told.path) as stream:
        events = iter(stream)
        next(events)
        web.process.send_signal(signal.SIGTERM)
        assert list(events) == []  # without an end: the client comes back
        web.process.wait(20)
    told.end()


def test_a_gateway_that_is_killed_stops_no_playbook_and_is_come_back_to(house: House) -> None:
    with house.dispatching():
        with serving(house) as web:
            answer = web.post("/api/whisperx/install", {"host": "building"})
            job: Job = house.room.jobs.get(answer.json()["job_id"])
            with web.stream(answer.json()["stream"]) as stream:
                seen = list(itertools.islice(iter(stream), 4))
                os.killpg(web.process.pid, signal.SIGKILL)
        with serving(house, web.port) as again:
            last = str(ids(seen)[-1])
            with again.stream(answer.json()["stream"], **{"Last-Event-ID": last}) as stream:
                seen += list(stream)
        assert seen[-1].data["state"] == "succeeded"
        assert ids(seen) == [event["id"] for event in house.events(job)]

"""/api/live: what the GETs answer, sent when it changes."""

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from proxy_app.api import live
from proxy_app.jobs.watching import TooManyWatchersError
from tests.jobs.house import House, settings
from tests.jobs.told import Told
from tests.jobs.web import Web, serving


@pytest.fixture(scope="module")
def inhabited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Web]]:
    house = House(settings(tmp_path_factory.mktemp("live")))
    with serving(house) as web:
        yield house, web
    house.room.close()


def test_each_topic_comes_at_first_as_its_get_answers(inhabited: tuple[House, Web]) -> None:
    _house, web = inhabited
    with web.stream("/api/live") as stream:
        found = {event.name: event.data for event, _ in zip(stream, live.TOPICS, strict=False)}
    assert found.keys() == live.TOPICS.keys()
    assert found["jobs"] == web.get("/api/jobs?limit=20").json()
    assert found["services"] == web.get("/api/services").json()


def test_what_changes_is_sent_and_nothing_else(inhabited: tuple[House, Web]) -> None:
    house, web = inhabited
    with web.stream("/api/live") as stream:
        events = iter(stream)
        for _ in live.TOPICS:
            next(events)
        told = Told(house)
        states: list[str] = []
        while not states or states[-1] != "succeeded":
            event = next(events)
            assert event.name == "jobs"
            states.append(event.data["jobs"][0]["state"])
            if states[-1] == "running":
                told.end()
    assert sorted(set(states)) == sorted(states), "nothing is sent twice"


class Counted:
    """Topics that count how often they are looked at."""

    def __init__(self) -> None:
        self.looks = 0
        self.found: dict[str, Any] = {"services": [{"name": "a", "uptime_s": 1.0}]}

    def collect(self, _gateway: object) -> dict[str, Any]:
        self.looks += 1
        if self.found is None:
            raise OSError("away")
        return self.found


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def feed(counted: Counted) -> live.Feed:
    return live.Feed(None, {"services": (0.0, counted.collect)})  # type: ignore[arg-type]


def test_all_who_watch_share_one_look_and_nobody_watching_costs_none(
    feed: live.Feed, counted: Counted
) -> None:
    gevent.sleep(0.02)
    assert counted.looks == 0
    feed.enter()
    feed.enter()
    gevent.sleep(0.02)
    assert counted.looks > 0
    feed.leave()
    feed.leave()
    gevent.sleep(0.02)
    before = counted.looks
    gevent.sleep(0.02)
    assert counted.looks == before


def test_a_clock_that_goes_on_is_no_news_and_a_failed_look_changes_nothing(
    feed: live.Feed, counted: Counted
) -> None:
    feed.enter()
    gevent.sleep(0.02)
    data = feed.data
    counted.found = {"services": [{"name": "a", "uptime_s": 2.0}]}
    gevent.sleep(0.02)
    assert feed.data is data
    counted.found = None  # type: ignore[assignment]
    gevent.sleep(0.02)
    assert feed.data is data
    counted.found = {"services": [{"name": "b", "uptime_s": 2.0}]}
    gevent.sleep(0.02)
    assert feed.data["services"] == counted.found
    feed.leave()


def test_there_is_an_end_to_how_many_watch(
    feed: live.Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_MOST_WATCHERS", 2)
    feed.enter()
    feed.enter()
    with pytest.raises(TooManyWatchersError):
        feed.enter()
    feed.leave()
    feed.enter()
    feed.leave()
    feed.leave()

"""/api/live: the services, the hosts and the jobs as they change, as server-sent events.

What a GET of each would answer is collected once per process for all who watch, only while somebody
does, and sent when it is another than before.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gevent
from flask import Blueprint, Response, current_app, request
from gevent.event import Event

from proxy_app.api import hosts as hosts_api
from proxy_app.api import jobs as jobs_api
from proxy_app.api import services as services_api
from proxy_app.api.guard import still_admitted
from proxy_app.api.relay import Relay
from proxy_app.errors import ClientGoneError
from proxy_app.gateway import EXTENSION, Gateway
from proxy_app.jobs.watching import TooManyWatchersError, Watch

log = logging.getLogger(__name__)

bp = Blueprint("live", __name__, url_prefix="/api/live")

PING_S = 15.0
"""Between two pings, and two looks whether who watches may still do so."""
JOBS_SHOWN = 20
_FEED = "speech-live"
_MOST_WATCHERS = 1000
_END = b""
_PING = b": ping\n\n"

Collect = Callable[[Gateway], dict[str, Any]]


def newest_jobs(gateway: Gateway) -> dict[str, Any]:
    """The newest jobs, as GET /api/jobs answers with `limit`."""
    jobs = gateway.room.jobs.history(limit=JOBS_SHOWN)
    return {
        "jobs": [jobs_api.shown(job) for job in jobs],
        "next": jobs[-1].number if len(jobs) == JOBS_SHOWN else None,
    }


TOPICS: dict[str, tuple[float, Collect]] = {
    "services": (2.0, services_api.snapshot),
    "hosts": (2.0, hosts_api.snapshot),
    "jobs": (0.5, newest_jobs),
}
"""What is collected, by the event's name, and the seconds between two looks at it."""


class Feed:
    """The newest of every topic, and an event that is set with the next news."""

    def __init__(
        self, gateway: Gateway, topics: Mapping[str, tuple[float, Collect]] = TOPICS
    ) -> None:
        self._gateway = gateway
        self._topics = topics
        self._watchers = 0
        self._looking: list[gevent.Greenlet[..., None]] = []
        self.data: dict[str, dict[str, Any]] = {}
        self.news = Event()
        self.once: dict[int, Any] = {}
        """What is made of the data for all watchers alike."""

    def enter(self) -> None:
        """Watch it; `leave` is to be called.

        Raises:
            TooManyWatchersError: there is no room for another one.
        """
        if self._watchers >= _MOST_WATCHERS:
            raise TooManyWatchersError
        self._watchers += 1
        if self._watchers == 1:
            self._looking = [
                gevent.spawn(self._look, name, every_s, collect)
                for name, (every_s, collect) in self._topics.items()
            ]

    def leave(self) -> None:
        """Watch it no more."""
        self._watchers -= 1
        if not self._watchers:
            gevent.killall(self._looking, block=False)
            self.data = {}

    def _look(self, name: str, every_s: float, collect: Collect) -> None:
        # A topic of its own greenlet: a service that does not answer must not hold back the jobs.
        while not Watch.all_end:
            try:
                found = collect(self._gateway)
                if _steady(found) != _steady(self.data.get(name)):
                    self.data = {**self.data, name: found}
                    self._tell()
            except Exception as error:  # noqa: BLE001 - the next look may go well
                log.warning("%s cannot be collected: %s", name, type(error).__name__)
            gevent.sleep(every_s)
        self._tell()

    def _tell(self) -> None:
        old, self.news = self.news, Event()
        old.set()


def feed() -> Feed:
    """This process's feed."""
    extensions = current_app.extensions
    found: Feed = extensions.setdefault(_FEED, Feed(extensions[EXTENSION]))
    return found


@bp.get("")
def live() -> Response:
    """`services`, `hosts` and `jobs`, each with the JSON of its GET, at first and when changed."""
    return stream(feed(), lambda data: data)


def stream(source: Feed, events: Callable[[dict[str, dict[str, Any]]], dict[str, Any]]) -> Response:
    """Send what `events` makes of the collected data, by the events' names, whenever it differs.

    Args:
        source: where the data comes from.
        events: is given all topics that are known by now.
    """
    source.enter()
    relay: Relay[bytes] = Relay(request.environ, lambda put: _follow(source, events, put))
    pieces = _pieces(relay, still_admitted())
    response = Response(pieces, content_type="text/event-stream; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep it until it is complete
    response.call_on_close(relay.close)
    response.call_on_close(source.leave)
    return response


def _follow(
    source: Feed,
    events: Callable[[dict[str, dict[str, Any]]], dict[str, Any]],
    put: Callable[[bytes], None],
) -> None:
    sent: dict[str, Any] = {}
    while not Watch.all_end:
        news = source.news
        made = events(source.data)
        for name, data in made.items():
            if name not in sent or sent[name] != data:
                put(f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode())
        sent = made
        news.wait()
    put(_END)


def _pieces(relay: Relay[bytes], goes_on: Callable[[], bool]) -> Iterator[bytes]:
    try:
        for data in relay.until(_END, every_s=PING_S, goes_on=goes_on):
            yield _PING if data is None else data
    except ClientGoneError:
        return


def _steady(found: dict[str, Any] | None) -> object:
    """What counts as a change: not that a service has been up for a second more."""
    if not found or "services" not in found:
        return found
    clocks = ("uptime", "uptime_s")
    services = [
        {name: value for name, value in service.items() if name not in clocks}
        for service in found["services"]
    ]
    return {**found, "services": services}

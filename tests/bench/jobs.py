"""Jobs: how soon a page shows what a playbook does, and what many who watch cost.

`python -m tests.bench.jobs`; /livez, which does nothing, is asked beside the streams.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import requests

from tests.bench.printing import say, table
from tests.jobs.house import House, settings
from tests.jobs.told import Told
from tests.jobs.web import Web, serving

CLICKS = 5
WATCHERS = 200
WATCHED_S = 10.0
PAUSE_S = 0.1
"""Between two lines of the log that is watched."""


def figures(seconds: Sequence[float]) -> list[str]:
    """Median and 95th percentile, in ms."""
    ordered = sorted(seconds)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return [f"{value * 1000:.0f} ms" for value in (statistics.median(ordered), last)]


def click(house: House, web: Web) -> tuple[float, list[float]]:
    """Seconds from the click to the first line of the log, and each event's delay."""
    began = time.time()
    job = web.post("/api/whisperx/install", {"host": "building"}).json()
    first = 0.0
    delays = []
    with web.stream(job["stream"]) as stream:
        for event in stream:
            first = first or (time.time() - began if event.name == "log" else 0.0)
            if event.id is not None:
                delays.append(time.time() - event.data["at"])
    (house.tmp / "build").unlink()
    return first, delays


def livez(web: Web, seconds: float) -> list[float]:
    """How long /livez takes, asked again and again over one connection."""
    until = time.monotonic() + seconds
    took = []
    with requests.Session() as session:
        while time.monotonic() < until:
            began = time.perf_counter()
            session.get(f"{web.url}/livez", timeout=60)
            took.append(time.perf_counter() - began)
            time.sleep(0.01)
    return took


@contextlib.contextmanager
def read_by_many(web: Web, path: str) -> Iterator[list[float]]:
    """WATCHERS streams of one job, which has to end before this does; each event's delay."""
    delays: list[float] = []

    def watch() -> None:
        with web.stream(path) as stream:
            delays.extend(
                time.time() - event.data["at"] for event in stream if event.id is not None
            )

    watchers = [threading.Thread(target=watch) for _ in range(WATCHERS)]
    for watcher in watchers:
        watcher.start()
    yield delays
    for watcher in watchers:
        watcher.join()


def watched(house: House, web: Web) -> tuple[list[float], list[float]]:
    """With WATCHERS streams of one job open: how long /livez takes, and each event's delay."""
    told = Told(house)

    def tell() -> None:
        until = time.monotonic() + WATCHED_S
        while time.monotonic() < until:
            told.log(0)
            time.sleep(PAUSE_S)

    with read_by_many(web, told.path) as delays:
        teller = threading.Thread(target=tell)
        teller.start()
        took = livez(web, WATCHED_S)
        teller.join()
        told.end()
    return took, delays


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(settings(Path(folder)))
        with house.dispatching(), serving(house) as web:
            web.get("/api/whisperx/status")  # the page has asked for the inventory's hosts
            say(f"{CLICKS} installs, one after another")
            clicks = [click(house, web) for _ in range(CLICKS)]
            say("/livez alone")
            alone = livez(web, WATCHED_S)
            say(f"{WATCHERS} streams of one job")
            beside, delays = watched(house, web)
        house.room.close()
    table(
        ("one worker of the gateway", "median", "95th percentile"),
        [
            [
                "from the click to the first line of the log",
                *figures([first for first, _ in clicks]),
            ],
            ["from an event to its reader", *figures([one for _, all_ in clicks for one in all_])],
            [f"the same, {WATCHERS} readers", *figures(delays)],
            [f"/livez beside {WATCHERS} readers", *figures(beside)],
            ["/livez alone", *figures(alone)],
        ],
    )


if __name__ == "__main__":
    main()

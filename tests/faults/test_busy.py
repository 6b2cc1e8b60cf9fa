"""Busy is not wedged: a recording takes as long as many probes and all limits of the watch process.

What is ninety minutes to five is here a few seconds to one; all but the engine is real. A request
that is there when a restart comes is the second half of fault 2: it is not lost silently.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest
import requests

from proxy_app.jobs.states import State
from tests.api.recordings import canonical_wav
from tests.faults.installation import Installation
from tests.faults.test_healing import is_told_to_come_back
from tests.jobs.house import eventually

SCALED = {"SPEECH_PROBE_EVERY_S": "1", "SPEECH_PROBE_LIMIT_S": "0.5", "SPEECH_STUCK_S": "2"}
PROBES = 4
"""So many that come too late: two would restart a service that has nothing to do."""


@pytest.fixture
def hurried(home: Installation) -> Iterator[Installation]:
    """Its watch process gets short intervals; the next test's has the usual ones again."""
    yield home
    home.mend("long", "stuck", "frozen", "tells-nothing")
    home.restart_watch()


@contextlib.contextmanager
def a_long_recording(home: Installation) -> Iterator["Future[requests.Response]"]:
    """A client's recording is in the engine, for as long as there is `long`."""
    home.make("long")
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(home.transcribe, canonical_wav(3))
        finally:
            home.mend("long", "stuck")


def is_let_work(home: Installation, answer: "Future[requests.Response]") -> None:
    """Probe after probe comes too late, and nothing is done about it."""
    assert eventually(lambda: home.uploads("client")), home.told()
    before = len(home.uploads("probe"))
    # One more than it takes: what a probe leads to is ordered before the next one begins.
    for late in range(1, PROBES + 2):
        home.web.post("/api/services/whisperx/check")
        assert eventually(partial(_were_late, home, before + late)), home.told()
    assert not answer.done()
    assert home.restarts() == []


def _were_late(home: Installation, probes: int) -> bool:
    shown = home.shown()
    are_over = len(home.uploads("probe")) >= probes and not shown["checking"]
    return are_over and not shown["last_check"]["ok"]


def test_an_engine_that_tells_its_progress_is_let_work_for_as_long_as_there_is_some(
    hurried: Installation,
) -> None:
    hurried.restart_watch(SCALED)
    with a_long_recording(hurried) as answer:
        is_let_work(hurried, answer)
        hurried.make("stuck")
        assert eventually(hurried.restarts), hurried.told()
        is_told_to_come_back(answer.result(60))
    hurried.becomes("ready")
    (job,) = hurried.restarts()
    assert hurried.house.wait(job).state == State.SUCCEEDED


def test_an_engine_that_tells_nothing_is_let_work_while_a_request_of_ours_is_there(
    hurried: Installation,
) -> None:
    hurried.make("tells-nothing")
    hurried.restart_watch(SCALED)
    with a_long_recording(hurried) as answer:
        is_let_work(hurried, answer)
        hurried.mend("long")
        assert answer.result(60).status_code == 200
    hurried.becomes("ready")
    hurried.make("frozen")
    assert eventually(hurried.restarts), hurried.told()
    hurried.mend("frozen")
    hurried.becomes("ready")
    assert len(hurried.restarts()) == 1

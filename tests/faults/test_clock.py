"""The machine's wall clock jumps under the watch process, which is real as all else is.

The numbers are those of the list of faults in docs/architecture.md.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update

from proxy_app.store import ServiceRestart
from proxy_app.watch.records import WITHIN_S
from tests.faults.installation import Installation
from tests.faults.jumping import JumpingClock, libfaketime
from tests.jobs.house import eventually

DAY_S = 86_400


@pytest.fixture
def clock(home: Installation, tmp_path: Path) -> Iterator[JumpingClock]:
    """The watch process has a clock of its own; the next test's has the machine's again."""
    clock = JumpingClock(libfaketime(), tmp_path / "time")
    clock.is_off_by(0)
    home.restart_watch(clock.environ())
    yield clock
    home.mend("wedged-for-good")
    home.restart_watch()


def test_13_a_clock_that_jumps_neither_opens_the_budget_nor_closes_it(
    home: Installation, clock: JumpingClock
) -> None:
    home.make("wedged-for-good")
    home.transcribe()
    for made, off_by_s in enumerate((DAY_S, -DAY_S, 0), 1):
        assert eventually(partial(_has_restarted, home, made)), home.told()
        clock.is_off_by(off_by_s)
    assert home.becomes("given_up")["restarts_left"] == 0
    for off_by_s in (DAY_S, -DAY_S):
        clock.is_off_by(off_by_s)
        _is_probed(home)
    home.restart_watch(clock.environ())
    _is_probed(home)
    assert home.is_in("given_up")
    assert len(home.restarts()) == 3
    # Half an hour after the first there is room again, whatever day it is dated by.
    _let_go_by(home, WITHIN_S + 1)
    _is_probed(home)
    assert eventually(lambda: len(home.restarts()) == 4), home.told()


def _has_restarted(home: Installation, times: int) -> bool:
    return len(home.restarts()) == times


def _is_probed(home: Installation) -> None:
    """Whoever asks for a probe gets one, whatever the time is."""
    probes = len(home.uploads("probe"))
    assert home.web.post("/api/services/whisperx/check").status_code == 202
    assert eventually(lambda: len(home.uploads("probe")) > probes), home.told()


def _let_go_by(home: Installation, seconds: float) -> None:
    """Let the restarts be so much longer ago, by the clock that nobody can set."""
    longer_ago = update(ServiceRestart).values(monotonic=ServiceRestart.monotonic - seconds)
    with home.house.room.store.session() as session:
        session.execute(longer_ago)

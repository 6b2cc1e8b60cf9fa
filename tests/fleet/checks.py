"""What several pages of these tests ask of a run, and of what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.fleet.playbooks import Result

WITHIN_S = 180


def refused(result: Result, *said: str) -> None:
    """The run failed, and its message holds all of this."""
    assert result.rc != 0, result.out
    for words in said:
        assert words in " ".join(result.out.split()), result.out


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait for what another process does, but not for ever."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)

"""The time of a restart, by clocks that no reboot and no jump of the wall clock can turn back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time, for one machine."""

    boot_id: str
    """Which start of the machine (Linux: /proc/sys/kernel/random/boot_id)."""
    monotonic: float
    """Seconds since then, sleep included: nobody can set this clock."""
    wall: float
    """Seconds since 1970, for people."""


def now() -> Moment:
    """This moment."""
    return Moment(_boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


def elapsed_s(then: Moment, now: Moment) -> float:
    """How long ago a moment was, in seconds; never more than it truly is.

    Of a moment before a reboot only the time since that reboot is certain, as the wall clock may
    have been set in between.
    """
    if then.boot_id == now.boot_id:
        return now.monotonic - then.monotonic
    return now.monotonic


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

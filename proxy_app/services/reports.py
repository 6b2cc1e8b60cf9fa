"""What the gateway met at a service, for the watch process: one note per service and kind.

A note is a file that is replaced as a whole, so that a reader never sees half of one, and there are
never more notes than services. Whoever watches compares the times.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Failure:
    """The last request that a service failed on."""

    at: float
    """When, in seconds since 1970."""
    status: int | None
    """The service's HTTP status; None where it gave none."""
    reason: str
    """For people, without the service's own words."""


class Reports:
    """Notes in one folder, which all workers and the watch process share.

    Args:
        folder: made, if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def failed(self, service: str, *, status: int | None, reason: str) -> None:
        """Report that a service failed on a request. A probe decides what that means."""
        note = self._folder / f"{service}.failed"
        new = note.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(asdict(Failure(time.time(), status, reason))))
        new.replace(note)

    def answered(self, service: str) -> None:
        """Report that a service gave a good answer, to a client or to a probe."""
        note, now = self._folder / f"{service}.answered", time.time_ns()
        try:
            os.utime(note, ns=(now, now))  # left to itself the kernel's clock is up to 10 ms late
        except FileNotFoundError:
            note.touch(mode=0o600)
            os.utime(note, ns=(now, now))

    def last_failure(self, service: str) -> Failure | None:
        """The last failure that was reported, if there was one."""
        try:
            fields = json.loads((self._folder / f"{service}.failed").read_text())
        except FileNotFoundError:
            return None
        return Failure(fields["at"], fields["status"], fields["reason"])

    def answered_since(self, service: str, at: float) -> bool:
        """Whether the service gave a good answer after a moment, in seconds since 1970."""
        try:
            return (self._folder / f"{service}.answered").stat().st_mtime > at
        except FileNotFoundError:
            return False

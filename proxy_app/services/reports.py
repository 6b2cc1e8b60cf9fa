"""What the gateway met at a service, for the watch process, and what that found.

There is one note per service and kind. A note is a file that is replaced as a whole, so that no
reader sees half of one, and there are never more notes than services. Whoever watches compares
the times. The watch process holds a lock beside them for as long as it lives: what a dead one has
found is no longer so.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from proxy_app.flocks import is_held
from proxy_app.services import notes

log = logging.getLogger(__name__)

_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Failure:
    """The last request that a service failed on."""

    at: float
    """When, in seconds since 1970."""
    status: int | None
    """The service's HTTP status; None where it gave none."""
    reason: str
    """For people, without the service's own words."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the watch process has found, as far as requests must know."""

    state: str
    """One of services/health.py."""
    detail: str
    """For people."""
    refuses: bool
    """Whether the service is not to be asked: a probe has failed."""


_LOOK_S = 0.2


@contextlib.contextmanager
def at_best() -> Iterator[None]:
    """Write a note, if that can be: a full disk must not cost a request its answer as well."""
    try:
        yield
    except OSError as error:
        log.warning("a note is lost: %s", error.strerror)


Note = TypeVar("Note", Failure, Verdict)


class Reports:
    """Notes in one folder, which all workers and the watch process share.

    Args:
        folder: made, if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    # The gateway tells.

    def failed(self, service: str, *, status: int | None, reason: str) -> None:
        """Report that a service failed on a request. A probe decides what that means."""
        with at_best():
            self._write(f"{service}.failed", Failure(time.time(), status, reason))

    def answered(self, service: str) -> None:
        """Report that a service gave a good answer, to a client or to a probe."""
        with at_best():
            self._touch(f"{service}.answered")

    def ask(self, service: str) -> None:
        """Have a service probed at once."""
        self._touch(f"{service}.asked")

    def verdict(self, service: str) -> Verdict | None:
        """What the watch process has found; None while none runs."""
        found = self._read(f"{service}.verdict", Verdict)
        return found if found and self.is_watched() else None

    def is_watched(self) -> bool:
        """Whether a watch process lives."""
        return is_held(self._folder / _LOCK)

    # The watch process looks and tells.

    @contextlib.contextmanager
    def watching(self, goes_on: Callable[[], bool]) -> Iterator[bool]:
        """Be the one that watches; waits for another one's end while `goes_on` says so."""
        with self._lock() as lock:
            while goes_on():
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(_LOOK_S)
                else:
                    yield True
                    return
            yield False

    def tell(self, service: str, verdict: Verdict) -> None:
        """Tell all workers how a service was found."""
        self._write(f"{service}.verdict", verdict)

    def withdraw(self, service: str = "*") -> None:
        """What was told of a service, or of all, is not kept up to date any more."""
        for note in self._folder.glob(f"{service}.verdict"):
            note.unlink(missing_ok=True)

    def last_failure(self, service: str) -> Failure | None:
        """The last failure that was reported, if there was one."""
        return self._read(f"{service}.failed", Failure)

    def answered_since(self, service: str, at: float) -> bool:
        """Whether the service gave a good answer after a moment, in seconds since 1970.

        One of the future is of a clock that was set back since; when it was nobody can tell.
        """
        return at < self.answered_at(service) <= time.time()

    def answered_at(self, service: str) -> float:
        """When it gave a good answer last, in seconds since 1970; 0 if never."""
        return self._touched(f"{service}.answered")

    def asked_at(self, service: str) -> float:
        """When a probe was asked for last, in seconds since 1970; 0 if never."""
        return self._touched(f"{service}.asked")

    def _write(self, name: str, note: Failure | Verdict) -> None:
        notes.put(self._folder / name, asdict(note))

    def _read(self, name: str, kind: type[Note]) -> Note | None:
        """A note; what the machine's end has torn, or another version wrote, is none."""
        return notes.get(self._folder / name, lambda content: kind(**content))

    def _touch(self, name: str) -> None:
        note, now = self._folder / name, time.time_ns()
        try:
            os.utime(note, ns=(now, now))  # left to itself the kernel's clock is up to 10 ms late
        except FileNotFoundError:
            note.touch(mode=0o600)
            os.utime(note, ns=(now, now))

    def _touched(self, name: str) -> float:
        try:
            return (self._folder / name).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int]:
        lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield lock
        finally:
            os.close(lock)

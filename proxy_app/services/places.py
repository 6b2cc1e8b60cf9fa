"""At most so many requests in a service at once, across all workers, and so many that wait for it.

A place is an flock on a file of its own, and so is a place in the line before it: the kernel frees
them when their process goes, so that no kill -9 can close a service, and no worker needs to know of
the others.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from proxy_app.flocks import is_held

_POLL_S = 0.02
"""How often a full service is asked again; only one request of each worker asks."""

_WAKE_S = 0.5
"""How often the others look up: the one that was woken may have been killed at that moment."""


class QueueFullError(Exception):
    """No place became free in time, or there was no room to wait for one.

    Attributes:
        name: of the places.
        waited_s: how long it was waited for.
        is_line_full: whether so many wait already that nobody else may.
    """

    def __init__(self, name: str, waited_s: float, *, is_line_full: bool = False) -> None:
        if is_line_full:
            super().__init__(f"as many as may wait for a place in {name} already")
        else:
            super().__init__(f"no place in {name} became free within {waited_s:g} s")
        self.name = name
        self.waited_s = waited_s
        self.is_line_full = is_line_full


@dataclass(slots=True)
class _Line:
    """Those of this worker who want a place: first come, first served."""

    # Made when they are needed: gunicorn imports this file before gevent has patched the standard
    # library, and a native lock would stop the whole worker.
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore())  # noqa: PLW0108
    """Held by the one who looks for a free place."""
    left: threading.Event = field(default_factory=lambda: threading.Event())  # noqa: PLW0108
    """Set when somebody of this worker has left a place."""


class Places:
    """The places of all services, as files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting = folder / "waiting"
        self._waiting.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lines: dict[str, _Line] = {}

    @contextmanager
    def hold(
        self, name: str, count: int, deadline_s: float, *, most_waiting: int | None = None
    ) -> Iterator[None]:
        """Hold one of the `count` places of `name`, waiting for it at most `deadline_s` seconds.

        Args:
            name: what it is a place in.
            count: how many there are.
            deadline_s: 0 is not to wait.
            most_waiting: how many may wait, in all workers; None for any number of them, who are
                not counted.

        Raises:
            QueueFullError: none became free in time, or too many wait.
        """
        line = self._lines.get(name) or self._lines.setdefault(name, _Line())
        lock = self._at_once(line, name, count)
        if lock is None:
            with self._in_line(name, most_waiting):
                lock = self._wait(line, name, count, deadline_s)
        try:
            yield
        finally:
            _free(lock)
            line.left.set()

    def held_s(self, name: str) -> float | None:
        """For how many seconds a place of `name` has been held, by whatever process.

        Of several the one that is held for the longest time counts; None where none is.
        """
        dates = [path.stat().st_mtime for path in _of(self._folder, name) if is_held(path)]
        return time.clock_gettime(time.CLOCK_BOOTTIME) - min(dates) if dates else None

    def held(self, name: str) -> int:
        """How many places of `name` are held, by whatever processes."""
        return sum(is_held(path) for path in _of(self._folder, name))

    def waiting(self, name: str) -> int:
        """How many wait for a place of `name`, in whatever processes, where they are counted."""
        return sum(is_held(path) for path in _of(self._waiting, name))

    def wanted(self, name: str) -> int:
        """How many have a place of `name` or wait for one."""
        return self.held(name) + self.waiting(name)

    def _at_once(self, line: _Line, name: str, count: int) -> int | None:
        """A place, if one is free and nobody of this worker was here before."""
        if not line.turn.acquire(blocking=False):
            return None
        try:
            return _lock_one(self._folder, name, count)
        finally:
            line.turn.release()

    @contextmanager
    def _in_line(self, name: str, most: int | None) -> Iterator[None]:
        with ExitStack() as stack:
            if most is not None:
                lock = _lock_one(self._waiting, name, most)
                if lock is None:  # or somebody looked whether it is held, which takes no time
                    time.sleep(_POLL_S)
                    lock = _lock_one(self._waiting, name, most)
                if lock is None:
                    raise QueueFullError(name, 0.0, is_line_full=True)
                stack.callback(_free, lock)
            yield

    def _wait(self, line: _Line, name: str, count: int, deadline_s: float) -> int:
        until = time.monotonic() + deadline_s
        while not line.turn.acquire(timeout=min(_WAKE_S, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                raise QueueFullError(name, deadline_s)
        try:
            while True:
                line.left.clear()
                if (lock := _lock_one(self._folder, name, count)) is not None:
                    return lock
                if time.monotonic() >= until:
                    raise QueueFullError(name, deadline_s)
                line.left.wait(_POLL_S)
        finally:
            line.turn.release()


def _of(folder: Path, name: str) -> Iterator[Path]:
    return folder.glob(f"{name}.*")


def _lock_one(folder: Path, name: str, count: int) -> int | None:
    """The lock of one of so many files, which says since when it is held; None if none is free."""
    for number in range(count):
        lock = os.open(folder / f"{name}.{number}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        except BaseException:
            os.close(lock)
            raise
        else:
            # Its date is by the clock that nobody can set, not by the calendar.
            began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            os.utime(lock, ns=(began, began))
            return lock
    return None


def _free(lock: int) -> None:
    # gevent closes files a moment later than it is asked to; others wait for this one.
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)

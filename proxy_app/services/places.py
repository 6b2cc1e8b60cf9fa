"""At most so many requests in a service at once, across all workers, and so many that wait for it.

A place is an flock on a file of its own, and so is a place in the line before it: the kernel frees
them when their process goes, so that no kill -9 can close a service, and no worker needs to know of
the others.

Those of one worker wait in a line of their own, first come, first served. Any of them may be killed
while it waits, as its client may leave: threading's conditions do not survive that under gevent,
which switches inside them, and so the line has events of gevent's and nothing between two of its
steps that could switch.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import gevent
from gevent.event import Event

from proxy_app.flocks import is_held

_POLL_S = 0.02
"""How often a full service is asked again; only one request of each worker asks."""

ENCODERS = "speech encoding"
"""The places of the processes that encode speech, of all workers: no service has a blank in it."""

Line = deque[Event]
"""Those of this worker who wait: each is woken when it is the first, or should look again."""


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


class Places:
    """The places of all services, as files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting = folder / "waiting"
        self._waiting.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lines: dict[str, Line] = {}

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
        line = self._lines.setdefault(name, deque())
        lock = None if line else _lock_one(self._folder, name, count)
        if lock is None:
            with self._in_line(name, most_waiting):
                lock = self._wait(line, name, count, deadline_s)
        try:
            yield
        finally:
            _free(lock)
            _wake(line)

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

    @contextmanager
    def _in_line(self, name: str, most: int | None) -> Iterator[None]:
        with ExitStack() as stack:
            if most is not None:
                lock = _lock_one(self._waiting, name, most)
                if lock is None:  # or somebody looked whether it is held, which takes no time
                    gevent.sleep(_POLL_S)
                    lock = _lock_one(self._waiting, name, most)
                if lock is None:
                    raise QueueFullError(name, 0.0, is_line_full=True)
                stack.callback(_free, lock)
            yield

    def _wait(self, line: Line, name: str, count: int, deadline_s: float) -> int:
        until = time.monotonic() + deadline_s
        me = Event()
        line.append(me)
        try:
            while True:
                me.clear()
                is_first = line[0] is me
                if is_first and (lock := _lock_one(self._folder, name, count)) is not None:
                    return lock
                left_s = until - time.monotonic()
                if left_s <= 0:
                    raise QueueFullError(name, deadline_s)
                me.wait(min(left_s, _POLL_S) if is_first else left_s)
        finally:
            line.remove(me)
            _wake(line)


def _wake(line: Line) -> None:
    """Let the first one look."""
    if line:
        line[0].set()


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

"""At most so many requests in a service at once, across all workers.

A place is an flock on a file of its own: the kernel frees it when its process goes, so that no
kill -9 can close a service, and no worker needs to know of the others.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy_app.flocks import is_held

_POLL_S = 0.02
"""How often a full service is asked again; only one request of each worker asks."""

_WAKE_S = 0.5
"""How often the others look up: the one that was woken may have been killed at that moment."""


class QueueFullError(Exception):
    """No place became free in time."""

    def __init__(self, name: str, waited_s: float) -> None:
        super().__init__(f"no place in {name} became free within {waited_s:g} s")
        self.name = name
        self.waited_s = waited_s


class Places:
    """The places of all services, as files in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._local: dict[str, threading.Semaphore] = {}

    @contextmanager
    def hold(self, name: str, count: int, deadline_s: float) -> Iterator[None]:
        """Hold one of the `count` places of `name`, waiting for it at most `deadline_s` seconds.

        Raises:
            QueueFullError: none became free in time.
        """
        until = time.monotonic() + deadline_s
        # First come, first served within this worker, and handed over without a pause.
        local = self._local.setdefault(name, threading.Semaphore(count))
        while not local.acquire(timeout=min(_WAKE_S, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                raise QueueFullError(name, deadline_s)
        try:
            lock = self._wait(name, count, until)
            if lock is None:
                raise QueueFullError(name, deadline_s)
            try:
                yield
            finally:
                # gevent closes files a moment later than it is asked to; others wait for this one.
                fcntl.flock(lock, fcntl.LOCK_UN)
                os.close(lock)
        finally:
            local.release()

    def held_s(self, name: str) -> float | None:
        """For how many seconds a place of `name` has been held, by whatever process.

        Of several the one that is held for the longest time counts; None where none is.
        """
        dates = [path.stat().st_mtime for path in self._of(name) if is_held(path)]
        return time.clock_gettime(time.CLOCK_BOOTTIME) - min(dates) if dates else None

    def held(self, name: str) -> int:
        """How many places of `name` are held, by whatever processes."""
        return sum(is_held(path) for path in self._of(name))

    def _of(self, name: str) -> Iterator[Path]:
        return self._folder.glob(f"{name}.*")

    def _wait(self, name: str, count: int, until: float) -> int | None:
        while (lock := self._try(name, count)) is None:
            if time.monotonic() >= until:
                return None
            time.sleep(_POLL_S)
        return lock

    def _try(self, name: str, count: int) -> int | None:
        for number in range(count):
            lock = os.open(self._folder / f"{name}.{number}", os.O_RDWR | os.O_CREAT, 0o600)
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

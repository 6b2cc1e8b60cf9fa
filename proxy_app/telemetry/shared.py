"""Counters that several processes keep together, by prometheus_client's files.

Its own way names the files by process numbers: each process that dies leaves its files for ever,
and gauges with what it had at that moment. Here a process has the lowest number that is free, as
an flock, and whoever comes after it goes on in its files: nothing that was counted is lost by a
kill -9, and there are never more files than processes that lived at the same time.
"""

from __future__ import annotations

import fcntl
import os
from itertools import count
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

_held: list[int] = []
"""Locks of this process, for as long as it lives."""


def join(folder: Path, name: str | None = None) -> None:
    """Count in the files of a folder from now on; to be done before metrics are made.

    Args:
        folder: made, if it is missing.
        name: of a process that there is once; its files begin anew. By default a free number.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mine = name or str(_free_number(folder))
    for path in folder.glob(f"*_{mine}.db" if name else f"gauge_*_{mine}.db"):
        path.unlink()  # what a dead one had in hand is no more
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: mine)  # type: ignore[no-untyped-call]


def of_all(folder: Path) -> CollectorRegistry:
    """What all processes have counted."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return registry


def _free_number(folder: Path) -> int:
    for number in count():
        lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            _held.append(lock)
            return number
    raise AssertionError("count() does not end")

"""The processes below one of ours, by /proc: found, and ended with all that they started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

_LOOKS = 20
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def children(pid: int) -> list[int]:
    """The processes that a process has started, and that have not ended."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return [child for child in found if _lives(child)]


def descendants(pid: int) -> list[int]:
    """All processes below a process."""
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def adopt_orphans() -> None:
    """From now on what is below us and loses its parent becomes our own child."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans() -> None:
    """Kill our children, but for those that were meant to go on: they lead a session."""
    for pid in children(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) != pid:
                end_tree(pid)


def end_tree(pid: int) -> None:
    """Kill a process and all below it: frozen first, so that none starts another meanwhile.

    What has left the tree (a build that is to go on by itself) is left alone.
    """
    _signal([pid], signal.SIGSTOP)
    frozen: set[int] = set()
    for _ in range(_LOOKS):
        new = set(descendants(pid)) - frozen
        if not new:
            break
        _signal(new, signal.SIGSTOP)
        frozen |= new
        time.sleep(0.01)
    _signal([*frozen, pid], signal.SIGKILL)


def _signal(pids: list[int] | set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[0] not in "ZX"
    return False

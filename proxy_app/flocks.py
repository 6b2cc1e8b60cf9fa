"""flocks, which end with the process that holds them: whether one is held, and those for a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of a file; of one that is not there nobody does."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared, and for no time: who looks takes it from nobody, nor is taken for its holder.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(lock, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def take(path: Path) -> int | None:
    """Take the lock of a file that exists only while it is held; None where another has it.

    Gives what `give` wants back. What a process that was killed has left is taken over.
    """
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        if _is_there(lock, path):
            return lock
        os.close(lock)  # its holder has removed it between the two


def give(path: Path, lock: int) -> None:
    """Give back what `take` has taken: the file goes first, so that nobody waits for it."""
    path.unlink(missing_ok=True)
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _is_there(lock: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(lock), there)

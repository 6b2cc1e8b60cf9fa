"""Uploads on disk: a folder per worker, nothing left behind.

A worker holds an flock on its folder for as long as it lives. Whoever starts next removes the
folders that nobody holds: those of processes that were killed.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Spool:
    """One worker's part of the spool folder."""

    def __init__(self, root: Path) -> None:
        """Remove what dead workers left, and make a folder of one's own, locked."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(root):
            for folder in root.iterdir():
                _remove_if_unheld(folder)
            self.folder = Path(tempfile.mkdtemp(prefix="worker-", dir=root))
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._owner = os.getpid()
        atexit.register(self.close)

    def new_stem(self) -> Path:
        """What the names of one request's files begin with; the request removes them."""
        return self.folder / secrets.token_hex(8)

    def close(self) -> None:
        """Remove the worker's folder. A forked child must not remove its parent's."""
        if self._lock >= 0 and os.getpid() == self._owner:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1
            atexit.unregister(self.close)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One at a time: between making a folder and locking it, it looks like a dead worker's."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _remove_if_unheld(folder: Path) -> None:
    if not folder.name.startswith("worker-") or folder.is_symlink() or not folder.is_dir():
        return
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)

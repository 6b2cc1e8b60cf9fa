"""What takes one process long to find out, kept in a file for the others and for the next start."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_LOOK_S = 0.05


class Kept:
    """One value of JSON, which holds for as long as what it was made of is the same.

    A file that is missing, broken or cannot be written costs time and nothing else.

    Args:
        path: the file; its folder is made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def stamp(self) -> tuple[int, int]:
        """Something else whenever the file is another one."""
        try:
            info = self._path.stat()
        except OSError:
            return 0, 0
        return info.st_ino, info.st_mtime_ns

    def get(self, made_of: object) -> Any | None:  # noqa: ANN401 - JSON
        """The value; None where it was made of something else."""
        try:
            kept = json.loads(self._path.read_bytes())
            return kept["value"] if kept["made_of"] == made_of else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def put(self, made_of: object, value: object) -> None:
        """Keep a value instead of the one before; for this user alone."""
        try:
            descriptor, new = tempfile.mkstemp(dir=self._path.parent, prefix=f"{self._path.name}.")
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, type(error).__name__)
            return
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({"made_of": made_of, "value": value}, file)
            Path(new).rename(self._path)
        except OSError as error:
            Path(new).unlink(missing_ok=True)
            log.warning("%s cannot be written: %s", self._path, type(error).__name__)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While one process finds the value out the others wait for it, and do nothing else."""
        with contextlib.ExitStack() as stack:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = stack.enter_context(self._path.with_suffix(".lock").open("w"))
            except OSError:
                lock = None
            while lock is not None:
                # Not by waiting in the kernel, where a worker's other requests would wait, too.
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(_LOOK_S)
            yield

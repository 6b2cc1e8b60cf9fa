"""Secrets that jobs hand on, each in a file of its own: written, never read out again."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

NAMES = ("hf_token", "ngc_key")
_LONGEST = 4096


class Secrets:
    """The secrets in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, value: str) -> None:
        """Keep a secret.

        Raises:
            ValueError: it is none that is known, or no line of text.
        """
        if name not in NAMES:
            raise ValueError(f"expected one of {', '.join(NAMES)}")
        if not (value.isascii() and value.isprintable()) or not 0 < len(value) <= _LONGEST:
            raise ValueError(f"{name}: expected one line of printable ASCII characters")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._folder / f"{name}.new"
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            new.unlink(missing_ok=True)  # of one that was killed
            with open(new, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(value)
            new.rename(self._folder / name)

    def remove(self, name: str) -> None:
        """Keep a secret no longer."""
        (self._folder / name).unlink(missing_ok=True)

    def set_at(self, name: str) -> float | None:
        """When a secret was put there, in seconds since 1970; None while there is none."""
        try:
            return (self._folder / name).stat().st_mtime
        except FileNotFoundError:
            return None

    def path(self, name: str) -> Path | None:
        """The file that holds a secret, if there is one."""
        path = (self._folder / name).resolve()
        return path if path.is_file() else None

    def values(self) -> list[str]:
        """All of them, to be kept out of logs."""
        return [path.read_text() for name in NAMES if (path := self.path(name))]

"""Secrets that jobs hand on, each in a file of its own: written, never read out again."""

from __future__ import annotations

import contextlib
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

    def stamp(self) -> list[tuple[int, int]]:
        """Something else whenever a secret is another one."""
        infos = (path.stat() for name in NAMES if (path := self.path(name)))
        return [(info.st_ino, info.st_mtime_ns) for info in infos]

    def values(self) -> list[str]:
        """All of them, to be kept out of logs."""
        paths = (path for name in NAMES if (path := self.path(name)))
        return [path.read_text(encoding="ascii", errors="replace") for path in paths]


class Seen:
    """All that secrets have been since: of one that is replaced, both."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._stamp: object = None
        self._values: set[str] = set()
        self()

    def __call__(self) -> set[str]:
        """Their values by now, and those before."""
        with contextlib.suppress(OSError):  # it is being removed
            stamp = self._secrets.stamp()
            if stamp != self._stamp:
                self._values |= set(self._secrets.values())
                self._stamp = stamp
        return set(self._values)

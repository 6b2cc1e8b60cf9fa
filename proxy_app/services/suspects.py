"""Recordings that a service answered with a 500: it may be the service's fault, or theirs.

One empty file for each, named by its hash and dated by its 500, in a folder that all workers share.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from proxy_app.services.reports import Reports, at_best

REMEMBERED_S = 600.0
MOST = 1000


class Suspects:
    """Tells a broken recording from a broken service.

    Args:
        folder: made, if it is missing.
        reports: knows which service has answered well, and when.
    """

    def __init__(self, folder: Path, reports: Reports) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._reports = reports

    def is_to_blame(self, service: str, content: str) -> bool:
        """Whether a 500 is this recording's fault; else remember that it met one.

        It is, when it has met a 500 of the service before, in the last ten minutes, and the service
        has given a good answer since.

        Args:
            service: the one that has just answered 500.
            content: the recording's hash.
        """
        note, now = self._folder / f"{service}.{content}", time.time()
        met = _dated(note)
        if met is not None and 0 <= now - met <= REMEMBERED_S:
            if self._reports.answered_since(service, met):
                return True
        else:
            self._make_room(now)
        with at_best():
            note.touch(mode=0o600)
            os.utime(note, (now, now))
        return False

    def has_any(self, service: str) -> bool:
        """Whether a recording is remembered that met a 500 of the service."""
        with os.scandir(self._folder) as notes:
            return any(note.name.startswith(f"{service}.") for note in notes)

    def clear(self, service: str, content: str) -> None:
        """Forget a recording: the service has answered it well."""
        with at_best():
            (self._folder / f"{service}.{content}").unlink(missing_ok=True)

    def _make_room(self, now: float) -> None:
        """Remove what is too old, or of another time's clock, and the oldest of too many."""
        dated = sorted((met, note) for note in self._folder.iterdir() if (met := _dated(note)))
        fresh = [one for one in dated if 0 <= now - one[0] <= REMEMBERED_S]
        for _met, note in set(dated) - set(fresh[1 - MOST :]):
            note.unlink(missing_ok=True)


def _dated(note: Path) -> float | None:
    try:
        return note.stat().st_mtime
    except FileNotFoundError:
        return None

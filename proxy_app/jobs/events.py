"""A job's events: one file that its process appends to and everybody else reads.

A line is `{"id", "at", "event": "log", "line", "text"}` or `{"id", "at", "event": "phase", "name",
"state"}`. `id` counts from 1 without a gap, `at` is Unix time in seconds, `line` the number of the
text's first line in the log, and `text` has the colours that Ansible gave it (ANSI).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

MOST_BYTES = 64 * 1024 * 1024
"""The longest log that is kept of one job; a build's has less than one MB."""
_TEXT = 16 * 1024
"""Characters of one event; more become several events."""
_SHORTEST_SECRET = 6
ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
# Colours and bold stay; a terminal's other commands have no place in a page or in a terminal.
_NO_COLOUR = re.compile(
    r"\x1b(?!\[[0-9;]*m)(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])?|[\x00-\x08\x0b-\x1a\x7f]"
)
_TOO_LONG = "(The log is longer than is kept; what follows is left out.)"


class EventWriter:
    """Appends events. Nothing here raises: a full disk costs lines, not the job.

    Args:
        path: the file, made if it is not there.
        secrets: gives the texts that never get into it, as they are by now.
        most_bytes: where the log ends; phases go on.
    """

    def __init__(
        self,
        path: Path,
        secrets: Callable[[], Iterable[str]] = tuple,
        *,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._secrets = secrets
        self._most_bytes = most_bytes
        self._size = os.fstat(self._file).st_size
        self._id = 0
        self._line = 1
        self._mutex = threading.Lock()
        self.dropped = 0
        """Events that could not be written."""

    def log(self, text: str) -> None:
        """One or more lines of the log."""
        lines = text.replace("\r\n", "\n").replace("\r", "\n")  # also where a bar moves on
        clean = self.clean(_NO_COLOUR.sub("", lines)).rstrip("\n")
        if not clean.strip():
            return
        with self._mutex:
            for piece in _pieces(clean):
                if self._size >= self._most_bytes:
                    if self._line > 0:
                        self._append("log", line=self._line, text=_TOO_LONG)
                        self._line = -1
                    return
                if self._append("log", line=self._line, text=piece):
                    self._line += piece.count("\n") + 1

    def phase(self, name: str, state: str) -> None:
        """A phase has begun or ended."""
        with self._mutex:
            self._append("phase", name=name, state=state)

    def clean(self, text: str) -> str:
        """The text without secrets."""
        # The longest first: one may begin like another.
        for secret in sorted(self._secrets(), key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "********")
        return text

    def close(self) -> None:
        """Nothing is written any more."""
        with self._mutex:
            os.close(self._file)
            self._file = -1

    def _append(self, event: str, **values: object) -> bool:
        line = {"id": self._id + 1, "at": round(time.time(), 3), "event": event, **values}
        data = json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n"
        if not self._write(data):
            self.dropped += 1
            return False
        self._id += 1
        self._size += len(data)
        return True

    def _write(self, data: bytes) -> bool:
        """All of it, or nothing where the disk is full."""
        with contextlib.suppress(OSError):
            if os.write(self._file, data) == len(data):
                return True
            os.ftruncate(self._file, self._size)
        return False


class EventReader:
    """Reads a job's events from behind one of them; none yet is as good as a file without any."""

    def __init__(self, path: Path, after: int = 0) -> None:
        self._path = path
        self._after = after
        self._file: IO[bytes] | None = None

    def read(self, most_bytes: int = 64 * 1024) -> list[dict[str, Any]]:
        """The next events, all of them whole lines; [] where there are no more by now."""
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return []
            self._file.seek(_offset_behind(self._file, self._after))
        found = []
        for line in self._file.readlines(most_bytes):
            if not line.endswith(b"\n"):  # it is being written
                self._file.seek(-len(line), os.SEEK_CUR)
                break
            if event := _parsed(line):
                found.append(event)
        return found

    def rest(self) -> Iterator[dict[str, Any]]:
        """All events that there are by now."""
        while found := self.read():
            yield from found

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def plain(text: str) -> str:
    """A text without colours."""
    return ANSI.sub("", text)


def _parsed(line: bytes) -> dict[str, Any]:
    """A line's event; {} for one that was torn when the disk was full."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return event


def _offset_behind(file: IO[bytes], after: int) -> int:
    """Where the first line begins whose id is greater: ids grow, so half is left out each time."""
    low, high = 0, file.seek(0, os.SEEK_END)
    if after <= 0:
        return 0
    while low < high:
        middle = (low + high) // 2
        file.seek(max(0, middle - 1))
        if middle:
            file.readline()  # to the beginning of the next line
        start = file.tell()
        line = file.readline()
        if start >= high or not line.endswith(b"\n") or _parsed(line).get("id", 0) > after:
            high = middle
        else:
            low = start + len(line)
    return low


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces of whole lines, and a line that is too long cut."""
    piece: list[str] = []
    size = 0
    for line in text.split("\n"):
        for start in range(0, len(line) or 1, _TEXT):
            part = line[start : start + _TEXT]
            if piece and size + len(part) > _TEXT:
                yield "\n".join(piece)
                piece, size = [], 0
            piece.append(part)
            size += len(part) + 1
    yield "\n".join(piece)

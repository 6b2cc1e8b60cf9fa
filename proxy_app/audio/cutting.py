"""A long WAV cut where it is quiet, without another file: pieces are read from the one on disk.

Between words it is quieter than within them, so the quietest third of a second of half a minute is
a pause wherever there is one, in noise as in a studio. images/parakeet/app/windows.py cuts alike,
with numpy, which the gateway has not got.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from proxy_app.audio.wav import HEADER_BYTES, RATE, SAMPLE_BYTES, header

_SEARCHED = 0.25
_SEARCHED_S = 30.0
"""A piece may be cut in this part of it, at its end, and in no more than so many seconds."""
_STRIDE = 4
"""Every so many samples are looked at: enough to tell loud from quiet."""
_FRAME = RATE // 100 // _STRIDE
"""Samples that are looked at in 10 ms."""
_PAUSE_FRAMES = 30


@dataclass(frozen=True, slots=True)
class Piece:
    """Some samples of a plain WAV, which are a WAV of their own when they are read."""

    path: Path
    first: int
    """The first sample's number."""
    last: int
    """The number of the one behind the last."""

    @property
    def start_s(self) -> float:
        """Where it begins in the recording, in seconds."""
        return self.first / RATE

    @property
    def duration_s(self) -> float:
        """How long it is, in seconds."""
        return (self.last - self.first) / RATE

    def __len__(self) -> int:
        """The size of that WAV in bytes."""
        return HEADER_BYTES + (self.last - self.first) * SAMPLE_BYTES

    def open(self, mode: Literal["rb"] = "rb") -> Reader:  # noqa: ARG002 - as a path's
        """Begin to read it, header and all."""
        return Reader(self)


class Reader:
    """A piece as a binary file."""

    def __init__(self, piece: Piece) -> None:
        size = (piece.last - piece.first) * SAMPLE_BYTES
        self._head = header(size)
        self._left = size
        self._file = piece.path.open("rb")
        self._file.seek(HEADER_BYTES + piece.first * SAMPLE_BYTES)

    def __len__(self) -> int:
        return len(self._head) + self._left

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; all that is left if it is negative."""
        wanted = len(self) if size < 0 else size
        head, self._head = self._head[:wanted], self._head[wanted:]
        samples = self._file.read(min(wanted - len(head), self._left))
        self._left -= len(samples)
        if len(head) + len(samples) < min(wanted, len(self)):
            raise OSError("the recording is shorter than it was")
        return head + samples

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def pieces(path: Path, longest_s: float) -> Iterator[Piece]:
    """Cut a WAV of `to_wav`'s; each piece is found when it is asked for, at most `longest_s` long.

    They follow each other without a gap. What is left is shared out evenly, so that none is a
    remainder too short to tell what is said.
    """
    samples = (path.stat().st_size - HEADER_BYTES) // SAMPLE_BYTES
    longest = max(1, int(longest_s * RATE))
    first = 0
    while samples - first > longest:
        rest = samples - first
        latest = first + rest // math.ceil(rest / longest)
        searched = min(int(_SEARCHED * (latest - first)), int(_SEARCHED_S * RATE))
        last = _quietest(path, latest - searched, latest)
        yield Piece(path, first, last)
        first = last
    yield Piece(path, first, samples)


def _quietest(path: Path, first: int, last: int) -> int:
    """The middle of the quietest stretch between two samples."""
    samples = array("h")
    with path.open("rb") as file:
        file.seek(HEADER_BYTES + first * SAMPLE_BYTES)
        samples.frombytes(file.read((last - first) * SAMPLE_BYTES))
    looked_at = samples[::_STRIDE]
    starts = range(0, len(looked_at) - _FRAME + 1, _FRAME)
    sums = [0, *accumulate(sum(map(abs, looked_at[start : start + _FRAME])) for start in starts)]
    pause = min(_PAUSE_FRAMES, len(sums) - 1)
    loudness = [sums[end] - sums[end - pause] for end in range(pause, len(sums))]
    quietest = loudness.index(min(loudness)) + pause / 2
    return first + int(quietest * _FRAME) * _STRIDE

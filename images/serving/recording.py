"""A recording on disk, read in parts: nothing here holds a long one in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxy_app.audio.wav import HEADER_BYTES, SAMPLE_BYTES

Samples = NDArray[np.float32]
"""Mono audio at 16 kHz between -1 and 1."""

RATE = 16_000


class Recording:
    """What `proxy_app.audio.to_wav` wrote.

    Args:
        path: the file; it must stay until the last `samples`.
        duration_s: its true length in seconds; the file may be padded with silence.
    """

    def __init__(self, path: Path, duration_s: float) -> None:
        self._path = path
        self.duration_s = duration_s

    def samples(self, start_s: float, end_s: float) -> Samples:
        """The audio from `start_s` to `end_s`, read from the disk; less at the recording's end."""
        first = round(max(0.0, start_s) * RATE)
        last = round(min(end_s, self.duration_s) * RATE)
        stored = np.fromfile(
            self._path,
            dtype="<i2",
            count=max(0, last - first),
            offset=HEADER_BYTES + first * SAMPLE_BYTES,
        )
        return stored.astype(np.float32) / np.float32(32768)

"""Long recordings, made of the real ones in the test data: different people, rooms and gains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxy_app.audio import to_wav
from proxy_app.audio.wav import HEADER_BYTES, RATE, header
from tests.data import test_data

GAINS = (1.0, 0.5, 0.8, 0.35)
_BETWEEN_S = 0.5


def joined(path: Path, seconds: float, *more: Path) -> None:
    """Write a WAV of so many seconds: all recordings in turn, again and again, at other gains.

    Args:
        path: where to.
        seconds: how long.
        more: recordings besides those of the test data.
    """
    sources = sorted(test_data("audio").glob("*.flac")) + list(more)
    parts = [samples(source, path.with_suffix(".part")) for source in sources]
    wanted, written, number = round(seconds * RATE), 0, 0
    with path.open("wb") as file:
        file.write(header(2 * wanted))
        while written < wanted:
            sound = parts[number % len(parts)] * GAINS[number % len(GAINS)]
            sound = np.pad(sound, (0, round(_BETWEEN_S * RATE)))[: wanted - written]
            file.write(sound.astype("<i2").tobytes())
            written += len(sound)
            number += 1


def samples(source: Path, scratch: Path) -> NDArray[np.int16]:
    """A recording's samples, at 16 kHz."""
    to_wav(source, scratch)
    found = np.fromfile(scratch, dtype="<i2", offset=HEADER_BYTES)
    scratch.unlink()
    return found

"""Where a long recording is cut: at the quietest place near the end of each window.

The model attends to all of a window at once, so memory grows with the square of its length. Between
words it is quieter than within them, so the quietest third of a second of half a minute is a pause
wherever there is one, in noise as in a studio; no detector of speech, whose threshold can be wrong,
is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from images.serving.recording import RATE, Recording
from images.serving.windows import Window, count_windows

_SEARCHED = 0.25
"""The part of a window, at its end, in which it may be cut."""
_FRAME = RATE // 100
_PAUSE_FRAMES = 30
"""How long a stretch has to be quiet, in frames of 10 ms."""


def windows(recording: Recording, window_s: float) -> Iterator[Window]:
    """Cut a recording; each window is found when it is asked for, and at most `window_s` long.

    What is left of a recording is shared out evenly, so that no window is a remainder too short to
    tell what is said.
    """
    start = 0.0
    while recording.duration_s - start > window_s:
        rest = recording.duration_s - start
        latest = start + rest / count_windows(rest, window_s)
        end = _quietest(recording, latest - _SEARCHED * (latest - start), latest)
        yield Window(start, end)
        start = end
    yield Window(start, recording.duration_s)


def _quietest(recording: Recording, start_s: float, end_s: float) -> float:
    """The middle of the quietest stretch between two times, in seconds."""
    samples = recording.samples(start_s, end_s)
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    loudness = np.convolve(np.square(frames).mean(axis=1), np.ones(_PAUSE_FRAMES), "valid")
    middle = int(np.argmin(loudness)) + _PAUSE_FRAMES / 2
    return start_s + middle * _FRAME / RATE

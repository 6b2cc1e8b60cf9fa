"""Stand-ins for a recording and for Silero: how likely speech is, is written into the samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from images.serving.recording import RATE, Recording, Samples
from images.whisperx.app.speech_map import FRAME, FRAME_S, SpeechMap


class StandInRecording(Recording):
    """A recording whose samples are the probability of speech in their frame."""

    def __init__(self, probabilities: Sequence[float] | NDArray[np.float32]) -> None:
        self._frames = np.asarray(probabilities, dtype=np.float32)
        super().__init__(Path("nowhere"), len(self._frames) * FRAME_S)

    def samples(self, start_s: float, end_s: float) -> Samples:
        """See `Recording`."""
        first, last = round(start_s * RATE), round(end_s * RATE)
        begin = first // FRAME
        part = np.repeat(self._frames[begin : -(-last // FRAME)], FRAME)
        return part[first - begin * FRAME : last - begin * FRAME]


class StandInDetector:
    """Reads it off again, and counts the frames that it was given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def __call__(self, samples: Samples) -> NDArray[np.float32]:
        """See `Detector`."""
        frames = samples.reshape(-1, FRAME)
        self.given.append(len(frames))
        loudest: NDArray[np.float32] = frames.max(axis=1)
        return loudest


def speech_of(probabilities: Sequence[float] | NDArray[np.float32]) -> SpeechMap:
    """The map of a recording with so likely speech in each frame."""
    return SpeechMap(StandInRecording(probabilities), StandInDetector())


def speech_in(duration_s: float, *spans: tuple[float, float]) -> SpeechMap:
    """The map of a recording with speech in these stretches, in seconds."""
    frames = np.zeros(round(duration_s / FRAME_S), dtype=np.float32)
    for start_s, end_s in spans:
        frames[round(start_s / FRAME_S) : round(end_s / FRAME_S)] = 0.9
    return speech_of(frames)

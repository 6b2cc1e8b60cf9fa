"""Where in a recording there is speech, by Silero's voice detector, worked out as far as asked."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from images.serving.recording import RATE, Recording, Samples

FRAME = 512
"""Samples that Silero judges at once: 32 ms."""
FRAME_S = FRAME / RATE

_BLOCK = 1875
"""Frames that are worked out at once: a minute."""
_LEAD = 94
"""Frames heard before a block and thrown away: the detector remembers, and starts with nothing."""
_HYSTERESIS = 0.15
"""Speech has ended once its probability is so much below the one that it began with (Silero's)."""
_PAUSE = 0.35
"""What is less likely to be speech is a pause: where speech of probability 0.5 has ended."""

Detector = Callable[[Samples], NDArray[np.float32]]
"""Given whole frames of audio, the probability of speech in each."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of speech, in seconds from the recording's beginning."""

    start_s: float
    end_s: float


def silero(samples: Samples) -> NDArray[np.float32]:
    """The detector that faster-whisper ships; loaded once per process."""
    from faster_whisper.vad import get_vad_model  # noqa: PLC0415 - only this needs the library

    # It overwrites the end of what it is given with silence, so that gets a frame more.
    found: NDArray[np.float32] = get_vad_model()(np.pad(samples, (0, FRAME)))
    return found.reshape(-1)[:-1]


class SpeechMap:
    """The probability of speech in each frame of a recording.

    Each minute of it is worked out when it is first asked for, by whichever thread asks, and takes
    7.5 KB. What is found does not depend on the order of the questions.

    Args:
        recording: what is listened to.
        detector: who listens.
    """

    def __init__(self, recording: Recording, detector: Detector = silero) -> None:
        self._recording = recording
        self._detector = detector
        frames = math.ceil(recording.duration_s / FRAME_S)
        self._found = np.zeros(frames, dtype=np.float32)
        self._is_known = [False] * math.ceil(frames / _BLOCK)
        self._lock = threading.Lock()

    def probabilities(self, start_s: float, end_s: float) -> NDArray[np.float32]:
        """How likely speech is, for each frame of FRAME_S seconds that a stretch touches.

        Frames begin at whole multiples of FRAME_S.
        """
        return self._frames(math.floor(start_s / FRAME_S), math.ceil(end_s / FRAME_S))

    def spans(
        self,
        start_s: float,
        end_s: float,
        *,
        threshold: float,
        min_speech_s: float,
        min_silence_s: float,
        pad_s: float,
    ) -> Iterator[Span]:
        """The speech in a stretch, as Silero's own `get_speech_timestamps` finds it, one by one.

        Spans lie within the stretch, in order, and do not overlap. Each comes as soon as the one
        after it is known.

        Args:
            start_s: where the stretch begins.
            end_s: where it ends.
            threshold: the probability at which speech begins.
            min_speech_s: what is not longer is no speech.
            min_silence_s: what is shorter does not end it.
            pad_s: what is added to both ends; half of a silence that is too short for that.
        """
        end_s = min(end_s, self._recording.duration_s)
        found = self._unpadded(start_s, end_s, threshold, min_silence_s)
        long_enough = (span for span in found if span.end_s - span.start_s > min_speech_s)
        current = next(long_enough, None)
        free_from = start_s
        while current is not None:
            following = next(long_enough, None)
            start = max(free_from, current.start_s - pad_s)
            end = min(end_s, current.end_s + pad_s)
            if following is not None:
                end = min(end, (current.end_s + following.start_s) / 2)
            yield Span(start, end)
            free_from = end
            current = following

    def pause(self, start_s: float, end_s: float, length_s: float) -> float:
        """The middle of the first pause of at least `length_s` from `start_s` on, or `end_s`."""
        end_s = min(end_s, self._recording.duration_s)
        since: float | None = None
        for time_s, probability in self._walk(start_s, end_s):
            if probability < _PAUSE:
                since = time_s if since is None else since
            elif since is not None:
                if time_s - since >= length_s:
                    return (since + time_s) / 2
                since = None
        if since is not None and end_s - since >= length_s:
            return (since + end_s) / 2
        return end_s

    def _unpadded(
        self, start_s: float, end_s: float, threshold: float, min_silence_s: float
    ) -> Iterator[Span]:
        start: float | None = None
        silent_since: float | None = None
        for time_s, probability in self._walk(start_s, end_s):
            if probability >= threshold:
                start = time_s if start is None else start
                silent_since = None
            elif start is not None and probability < max(0.01, threshold - _HYSTERESIS):
                silent_since = time_s if silent_since is None else silent_since
                if time_s - silent_since >= min_silence_s:
                    yield Span(start, silent_since)
                    start = silent_since = None
        if start is not None:
            yield Span(start, end_s)

    def _walk(self, start_s: float, end_s: float) -> Iterator[tuple[float, float]]:
        """Each frame's beginning in seconds and its probability of speech."""
        first, last = math.floor(start_s / FRAME_S), math.ceil(end_s / FRAME_S)
        while first < last:
            until = min(last, (first // _BLOCK + 1) * _BLOCK)
            for frame, probability in enumerate(self._frames(first, until).tolist(), first):
                yield max(start_s, frame * FRAME_S), probability
            first = until

    def _frames(self, first: int, last: int) -> NDArray[np.float32]:
        first, last = max(0, first), min(len(self._found), last)
        with self._lock:
            for block in range(first // _BLOCK, math.ceil(last / _BLOCK)):
                if not self._is_known[block]:
                    self._work_out(block * _BLOCK)
                    self._is_known[block] = True
        return self._found[first:last]

    def _work_out(self, first: int) -> None:
        last = min(len(self._found), first + _BLOCK)
        begin = max(0, first - _LEAD)
        end_s = min(last * FRAME_S, self._recording.duration_s)
        samples = self._recording.samples(begin * FRAME_S, end_s)
        padded = np.pad(samples, (0, max(0, (last - begin) * FRAME - len(samples))))
        self._found[first:last] = self._detector(padded)[first - begin :]

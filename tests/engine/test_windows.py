"""Where a recording is cut: made recordings, in which whatever sounds is speech."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from images.serving.recording import RATE, Recording, Samples
from images.serving.windows import Window, count_windows
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.speech_map import FRAME, FRAME_S, SpeechMap
from images.whisperx.app.windows import LONGEST, SILENCE_S, windows


class Made(Recording):
    """A recording that is never written: it sounds, but for its pauses (start, end)."""

    def __init__(self, duration_s: float, pauses: Sequence[tuple[float, float]] = ()) -> None:
        super().__init__(Path("never-read.wav"), duration_s)
        self._pauses = pauses

    def samples(self, start_s: float, end_s: float) -> Samples:
        first, last = round(start_s * RATE), round(min(end_s, self.duration_s) * RATE)
        sound = np.ones(max(0, last - first), dtype=np.float32)
        for start, end in self._pauses:
            sound[max(0, round(start * RATE) - first) : max(0, round(end * RATE) - first)] = 0
        return sound


def loudness(samples: Samples) -> NDArray[np.float32]:
    """The detector: how much of each frame sounds."""
    found: NDArray[np.float32] = samples.reshape(-1, FRAME).mean(axis=1)
    return found


def cut(
    duration_s: float, window_s: float, pauses: Sequence[tuple[float, float]] = ()
) -> list[Window]:
    return list(windows(SpeechMap(Made(duration_s, pauses), loudness), duration_s, window_s))


def test_a_recording_that_fits_is_one_window() -> None:
    assert cut(100.0, 100.0, [(40, 60)]) == [Window(0.0, 100.0)]


def test_an_empty_recording_is_one_empty_window() -> None:
    assert cut(0.0, 100.0) == [Window(0.0, 0.0)]


def test_a_recording_is_cut_in_the_middle_of_the_first_pause_after_its_even_share() -> None:
    first, second = cut(110.0, 100.0, [(30, 32), (60, 62), (64, 66)])
    assert first.end_s == pytest.approx(61.0, abs=FRAME_S)
    assert second == Window(first.end_s, 110.0)


def test_a_pause_that_is_too_short_is_none() -> None:
    first, _second = cut(110.0, 100.0, [(60, 60 + SILENCE_S / 2), (64, 65)])
    assert first.end_s == pytest.approx(64.5, abs=FRAME_S)


def test_without_a_pause_it_is_cut_anyway() -> None:
    found = cut(1000.0, 100.0)
    assert max(window.length_s for window in found) == pytest.approx(100.0 * LONGEST)


def test_by_default_that_is_after_18_minutes() -> None:
    assert cut(3600.0, EngineSettings().window_s)[0] == Window(0.0, 1080.0)


def test_no_window_is_a_short_remainder() -> None:
    assert [round(window.length_s) for window in cut(201.0, 100.0, [(0, 201)])][-1] > 30


def test_a_later_window_is_not_looked_for_before_it_is_asked_for() -> None:
    asked: list[float] = []

    class Watched(Made):
        def samples(self, start_s: float, end_s: float) -> Samples:
            asked.append(end_s)
            return super().samples(start_s, end_s)

    recording = Watched(3600.0, [(number * 60.0, number * 60.0 + 1) for number in range(60)])
    next(windows(SpeechMap(recording, loudness), 3600.0, 600.0))
    assert 0 < max(asked) < 1000


@settings(deadline=None)  # the map of half an hour takes a while
@given(
    st.floats(0.1, 2000),
    st.floats(30, 300),
    st.lists(st.tuples(st.floats(0, 2000), st.floats(0, 9))),
)
def test_windows_follow_each_other_to_the_end_and_none_is_too_long(
    duration_s: float, window_s: float, pauses: list[tuple[float, float]]
) -> None:
    found = cut(duration_s, window_s, [(start, start + length) for start, length in pauses])
    assert found[0].start_s == 0.0
    assert found[-1].end_s == duration_s
    for one, following in itertools.pairwise(found):
        assert one.end_s == following.start_s
    assert all(0 < window.length_s <= LONGEST * window_s + 1e-6 for window in found)
    assert (len(found) == 1) or count_windows(duration_s, window_s) > 1

"""Where long recordings are cut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.parakeet.app.windows import windows
from images.serving.recording import RATE, Recording
from images.serving.windows import Window
from tests.engine.made_audio import wav


def recorded(folder: Path, samples: np.ndarray) -> Recording:
    """A recording on disk of samples between -1 and 1."""
    path = folder / "audio.wav"
    path.write_bytes(wav((samples * 32767).astype(np.int16)))
    return Recording(path, len(samples) / RATE)


def noise(seconds: float, loudness: float = 0.3) -> np.ndarray:
    return loudness * np.random.default_rng(0).uniform(-1, 1, round(seconds * RATE))


def test_a_recording_that_fits_is_one_window(tmp_path: Path) -> None:
    assert list(windows(recorded(tmp_path, noise(12)), 12)) == [Window(0.0, 12.0)]


@pytest.mark.parametrize("background", [0.0, 0.1])
def test_a_longer_one_is_cut_where_it_is_quietest(tmp_path: Path, background: float) -> None:
    samples = noise(20)
    samples[round(8.1 * RATE) : round(8.5 * RATE)] *= background / 0.3
    samples[round(9.0 * RATE) : round(9.2 * RATE)] = 0.0  # too short for a pause
    first, second = windows(recorded(tmp_path, samples), 12)
    assert 8.1 < first.end_s < 8.5
    assert second == Window(first.end_s, 20.0)


def test_a_cut_is_never_earlier_than_three_quarters_of_a_window(tmp_path: Path) -> None:
    samples = noise(20)
    samples[: 7 * RATE] = 0.0
    first, _ = windows(recorded(tmp_path, samples), 12)
    assert 7.5 <= first.end_s <= 10


@given(seconds=st.floats(1, 90), window_s=st.floats(10, 40))
def test_windows_follow_each_other_and_none_is_longer_than_asked_for(
    tmp_path_factory: pytest.TempPathFactory, seconds: float, window_s: float
) -> None:
    recording = recorded(tmp_path_factory.mktemp("audio"), noise(seconds))
    found = list(windows(recording, window_s))
    assert (found[0].start_s, found[-1].end_s) == (0.0, recording.duration_s)
    assert all(before.end_s == after.start_s for before, after in pairwise(found))
    assert all(0 < window.length_s <= window_s for window in found)
    assert len(found) == 1 or min(window.length_s for window in found) > window_s / 4

"""What Whisper hears at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from images.whisperx.app.speech_map import FRAME_S, SpeechMap
from images.whisperx.app.transcription import CHUNK_S, Listening
from images.whisperx.app.transcription.chunks import chunks
from tests.standins.engine_speech import StandInDetector, StandInRecording, speech_in, speech_of

# As (likelihood, frames), up to nearly four minutes.
runs = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.9]), st.integers(1, 1500)), min_size=1, max_size=12
).map(lambda parts: np.concatenate([np.full(count, value) for value, count in parts])[:7000])


def cut(
    speech: SpeechMap, duration_s: float, listening: Listening | None = None
) -> list[tuple[float, float]]:
    """In seconds."""
    found = chunks(speech, duration_s, listening or Listening())
    return [(chunk.start_s, chunk.end_s) for chunk in found if chunk is not None]


def test_neighbours_are_heard_together() -> None:
    speech = speech_in(60.0, (1.024, 5.024), (10.016, 20.0), (25.024, 30.016), (40.0, 50.016))
    assert cut(speech, 60.0) == [
        pytest.approx(each, abs=0.01) for each in [(0.62, 30.42), (39.6, 50.42)]
    ]


def test_a_long_monologue_is_cut_where_speech_is_least_likely() -> None:
    probabilities = np.full(2000, 0.9)
    probabilities[[700, 800]] = 0.6, 0.5  # 22.4 s and 25.6 s
    first, second, third = cut(speech_of(probabilities), 64.0)
    assert first == pytest.approx((0.0, 800.5 * FRAME_S))
    assert second[0] == first[1]
    assert third[1] == pytest.approx(64.0)


def test_silence_is_told_of_minute_by_minute() -> None:
    detector = StandInDetector()
    found = chunks(SpeechMap(StandInRecording([0.0] * 112_500), detector), 3600.0)
    assert next(found) is None
    assert len(detector.given) == 2  # a pause is looked for in the second minute
    assert 38 <= len([chunk for chunk in found if chunk is None]) <= 60


def test_a_chunk_does_not_wait_for_the_speech_after_a_long_silence() -> None:
    found = chunks(speech_in(600.0, (2.0, 4.0), (590.0, 595.0)), 600.0)
    first = next(found)
    assert first is not None
    assert first.end_s == pytest.approx(4.4, abs=0.05)
    assert next(found) is None


@given(runs)
def test_no_speech_is_lost_or_heard_twice(probabilities: NDArray[np.float32]) -> None:
    duration_s = len(probabilities) * FRAME_S
    found = cut(speech_of(probabilities), duration_s)
    times = [time for chunk in found for time in chunk]
    assert times == sorted(times)
    assert all(0 < end - start <= CHUNK_S for start, end in found)
    assert all(0 <= time <= duration_s + 1e-6 for time in times)
    middles = (np.flatnonzero(probabilities >= 0.35) + 0.5) * FRAME_S
    # A cut is in the middle of a frame, so that belongs to both.
    assert all(any(start <= m <= end for start, end in found) for m in middles)


def test_what_counts_as_speech_can_be_said() -> None:
    quiet = np.zeros(1000, dtype=np.float32)
    quiet[100:200], quiet[400:500] = 0.4, 0.9  # from 3.2 s and from 12.8 s
    assert cut(speech_of(quiet), 32.0)[0][0] == pytest.approx(2.8, abs=0.05)
    loud = Listening(threshold=0.6)
    assert cut(speech_of(quiet), 32.0, loud)[0][0] == pytest.approx(12.4, abs=0.05)
    padded = Listening(threshold=0.6, pad_s=2.0)
    assert cut(speech_of(quiet), 32.0, padded) == [pytest.approx((10.8, 18.0), abs=0.05)]


def test_silence_that_ends_a_stretch_can_be_longer() -> None:
    pausing = np.full(1300, 0.9, dtype=np.float32)
    pausing[500:510] = 0.0  # 0.32 s, at 16 s
    pausing[800] = 0.5  # 25.6 s, where speech is least likely in the last third
    first, second = cut(speech_of(pausing), 41.6)
    assert first[1] < 16.5
    assert second[0] == pytest.approx(first[1], abs=0.3)
    first, second = cut(speech_of(pausing), 41.6, Listening(silence_s=1.0))
    assert first[1] == pytest.approx(800.5 * FRAME_S)

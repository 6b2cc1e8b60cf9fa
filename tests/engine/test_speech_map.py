"""Spans and pauses, from made probabilities of speech."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from images.serving.recording import Samples
from images.whisperx.app.speech_map import FRAME_S, SpeechMap
from tests.standins.engine_speech import StandInDetector, StandInRecording, speech_in, speech_of

# As (likelihood, frames): up to three and a half minutes, so four blocks.
runs = st.lists(
    st.tuples(st.sampled_from([0.0, 0.3, 0.4, 0.9]), st.integers(1, 2000)), min_size=1, max_size=8
).map(lambda parts: np.concatenate([np.full(count, value) for value, count in parts])[:6500])


def spans(
    speech: SpeechMap,
    start_s: float,
    end_s: float,
    *,
    min_speech_s: float = 0.0,
    min_silence_s: float = FRAME_S,
    pad_s: float = 0.0,
) -> list[tuple[float, float]]:
    """In frames."""
    found = speech.spans(
        start_s,
        end_s,
        threshold=0.5,
        min_speech_s=min_speech_s,
        min_silence_s=min_silence_s,
        pad_s=pad_s,
    )
    return [(span.start_s / FRAME_S, span.end_s / FRAME_S) for span in found]


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([], []),
        ([0.0] * 9, []),
        ([0.9] * 9, [(0, 9)]),
        ([0.0, 0.9, 0.9, 0.0, 0.0, 0.0], [(1, 3)]),
        ([0.9, 0.4, 0.4, 0.9, 0.0, 0.0], [(0, 4)]),  # 0.4 does not end speech ...
        ([0.0, 0.4, 0.4, 0.9, 0.0, 0.0], [(3, 4)]),  # ... nor begin it
        ([0.9, 0.0, 0.9, 0.0, 0.0], [(0, 3)]),  # one frame is no silence
        ([0.9, 0.0, 0.0, 0.9, 0.0, 0.0], [(0, 1), (3, 4)]),
    ],
)
def test_speech_begins_when_likely_and_ends_when_unlikely_for_long_enough(
    probabilities: list[float], expected: list[tuple[float, float]]
) -> None:
    speech = speech_of(probabilities)
    assert spans(speech, 0.0, 10.0) == [pytest.approx(span) for span in expected]


def test_short_speech_is_no_speech() -> None:
    speech = speech_in(10.0, (1.024, 1.28), (4.0, 5.024))
    assert spans(speech, 0.0, 10.0, min_speech_s=0.3) == [pytest.approx((125, 157))]


def test_padding_shares_a_silence_that_is_too_short_for_it() -> None:
    speech = speech_of([0.9] * 4 + [0.0] * 4 + [0.9] * 4 + [0.0] * 20)
    found = spans(speech, 0.0, 32 * FRAME_S, pad_s=10 * FRAME_S)
    assert found == [pytest.approx((0, 6)), pytest.approx((6, 22))]


def test_a_stretch_is_a_part_of_the_recording() -> None:
    speech = speech_in(100.0, (10.0, 90.0))
    assert spans(speech, 59.0, 61.0, pad_s=1.0) == [pytest.approx((59 / FRAME_S, 61 / FRAME_S))]


@given(runs, st.lists(st.floats(0, 200), max_size=4))
def test_spans_are_the_same_whatever_was_asked_before(
    probabilities: NDArray[np.float32], asked: Sequence[float]
) -> None:
    fresh, used = speech_of(probabilities), speech_of(probabilities)
    for time_s in asked:
        used.probabilities(time_s, time_s + 10.0)
    assert spans(fresh, 3.0, 150.0, pad_s=0.4) == spans(used, 3.0, 150.0, pad_s=0.4)


@given(runs)
def test_likely_speech_is_in_a_span_and_spans_do_not_overlap(
    probabilities: NDArray[np.float32],
) -> None:
    found = spans(speech_of(probabilities), 0.0, 300.0, min_silence_s=0.16, pad_s=0.4)
    ends = [time for span in found for time in span]
    assert ends == sorted(ends)
    assert all(0 <= time <= len(probabilities) + 1e-6 for time in ends)
    for frame in np.flatnonzero(probabilities >= 0.5):
        assert any(start - 1e-6 <= frame and frame + 1 <= end + 1e-6 for start, end in found)


@pytest.mark.parametrize(
    ("from_s", "until_s", "expected"),
    [
        (0.0, 100.0, 21.0),
        (20.0, 100.0, 21.0),
        (20.992, 100.0, 21.496),  # what is left of a pause is a pause
        (30.0, 100.0, 95.0),  # 0.2 s at 50 s is none
        (30.0, 80.0, 80.0),
        (30.0, 92.0, 91.0),
    ],
)
def test_a_cut_is_in_the_middle_of_the_first_long_pause(
    from_s: float, until_s: float, expected: float
) -> None:
    speech = speech_in(100.0, (0.0, 20.0), (22.0, 50.0), (50.2, 90.0))
    assert speech.pause(from_s, until_s, 0.3) == pytest.approx(expected, abs=FRAME_S)


def test_a_minute_is_listened_to_once_and_only_when_asked_for() -> None:
    detector = StandInDetector()
    speech = SpeechMap(StandInRecording([0.9] * 10_000), detector)
    assert detector.given == []
    assert len(speech.probabilities(100.0, 110.0)) == 313
    speech.probabilities(61.0, 119.0)
    assert len(detector.given) == 1
    with_lead = detector.given[0]
    assert 1875 < with_lead < 2000  # something is heard before the minute, and not used
    next(iter(spans(speech, 0.0, 30.0)))
    assert len(detector.given) == 2


def test_what_the_detector_says_of_the_time_before_a_minute_is_thrown_away() -> None:
    def forgetful(samples: Samples) -> NDArray[np.float32]:
        found = StandInDetector()(samples)
        found[:30] = 0.0  # deaf for a second, but for the beginning of the recording
        return found

    speech = SpeechMap(StandInRecording([0.9] * 6000), forgetful)
    assert np.flatnonzero(speech.probabilities(0.0, 192.0) < 0.5).tolist() == list(range(30))


def test_two_lanes_share_the_work() -> None:
    detector = StandInDetector()
    speech = SpeechMap(StandInRecording([0.9] * 20_000), detector)
    found: list[NDArray[np.float32]] = []
    ask = partial(speech.probabilities, 0.0, 640.0)
    lanes = [threading.Thread(target=lambda: found.append(ask())) for _ in range(4)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    assert len(detector.given) == 11
    assert [len(each) for each in found] == [20_000] * 4


def test_an_hour_takes_half_a_megabyte() -> None:
    speech = speech_in(3600.0, (0.0, 3600.0))
    assert speech.probabilities(0.0, 3600.0).nbytes == 450_000


def test_a_detector_that_fails_is_asked_again() -> None:
    calls: list[int] = []

    def failing(samples: Samples) -> NDArray[np.float32]:
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError
        return StandInDetector()(samples)

    speech = SpeechMap(StandInRecording([0.9] * 100), failing)
    with pytest.raises(MemoryError):
        speech.probabilities(0.0, 1.0)
    assert speech.probabilities(0.0, 1.0).min() > 0.5

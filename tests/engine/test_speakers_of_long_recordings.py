"""Speakers keep their names over a recording of several windows: real calls and meetings, joined.

The windows are of 40 s here, so that recordings of two minutes have four.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.data import test_data
from tests.engine.conftest import Running, start
from tests.engine.made_audio import RATE, wav

SPEAKERS = "/v1/audio/transcribe-with-speakers"
GAP_S = 1.0
LOUDNESS = 0.08
# Who says what in pyannote's sample, in seconds (sample.rttm): each alone for some sentences.
FIRST_OF_SAMPLE = (10.6, 14.4)
SECOND_OF_SAMPLE = (21.8, 27.8)

Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def small_windows(
    engine_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """An engine that tells speakers apart in windows of 40 s."""
    folder = tmp_path_factory.mktemp("small-windows")
    running = start(engine_python, folder, {"ENGINE_WINDOW_S": "40"})
    try:
        running.wait_until("ready")
        yield running
    finally:
        running.stop()


def clip(path: Path, gain: float = 1.0) -> Samples:
    """A 16 kHz recording, as loud as all others but for the gain."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        frames = [
            resampled.to_ndarray().reshape(-1)
            for frame in container.decode(audio=0)
            for resampled in resampler.resample(frame)
        ]
    samples = np.concatenate(frames)
    return np.asarray(gain * LOUDNESS / np.sqrt(np.square(samples).mean()) * samples, np.float32)


def meeting(name: str) -> Path:
    """A clip of a meeting, of one person for the most part; or a skip."""
    return test_data("audio") / f"{name}.flac"


def joined(*clips: Samples) -> tuple[bytes, list[float]]:
    """A WAV of clips with a second of silence after each, and where each begins."""
    silence = np.zeros(round(GAP_S * RATE), np.float32)
    lengths = [len(samples) / RATE + GAP_S for samples in clips]
    sound = np.concatenate([part for samples in clips for part in (samples, silence)])
    stored = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)
    return wav(stored), [sum(lengths[:number]) for number in range(len(clips))]


def ask(engine: Running, recording: bytes, **fields: str) -> dict[str, Any]:
    answer = engine.post(SPEAKERS, recording, **fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def speaker(body: dict[str, Any], offset_s: float, said: tuple[float, float]) -> str:
    """Who speaks for most of a stretch."""
    start_ms, end_ms = (1000 * (offset_s + time) for time in said)
    heard: Counter[str] = Counter()
    for segment in body["segments"]:
        heard[segment["speaker"]] += max(
            0, min(end_ms, segment["end_ms"]) - max(start_ms, segment["start_ms"])
        )
    ((most, length),) = heard.most_common(1)
    assert length > 0, (said, body)
    return most


@pytest.fixture(scope="module")
def with_a_late_comer(sample_wav: Path) -> tuple[bytes, list[float]]:
    """A call of two people, somebody of a meeting, the call again; Kennedy only at the end."""
    return joined(
        clip(sample_wav),
        clip(sample_wav, 0.7),
        clip(meeting("ami-trn03")),
        clip(sample_wav),
        clip(meeting("jfk"), 0.6),
    )


def test_who_comes_only_in_the_last_window_is_told_from_all_others(
    small_windows: Running, with_a_late_comer: tuple[bytes, list[float]]
) -> None:
    recording, offsets = with_a_late_comer
    body = ask(small_windows, recording)
    first, second = (
        {speaker(body, offsets[number], said) for number in (0, 1, 3)}
        for said in (FIRST_OF_SAMPLE, SECOND_OF_SAMPLE)
    )
    assert len(first) == len(second) == 1
    late, other = speaker(body, offsets[4], (0, 11)), speaker(body, offsets[2], (0, 30))
    assert len(first | second | {late, other}) == 4
    before = {
        segment["speaker"] for segment in body["segments"] if segment["end_ms"] < 1000 * offsets[4]
    }
    assert late not in before


@pytest.mark.parametrize("asked", [1, 3])
def test_the_number_asked_for_is_that_of_the_whole_recording(
    small_windows: Running, with_a_late_comer: tuple[bytes, list[float]], asked: int
) -> None:
    recording, _offsets = with_a_late_comer
    exactly = ask(small_windows, recording, num_speakers=str(asked))
    assert exactly["speakers_detected"] == asked
    assert "warnings" not in exactly


def test_a_maximum_holds_for_the_whole_recording(
    small_windows: Running, with_a_late_comer: tuple[bytes, list[float]]
) -> None:
    recording, _offsets = with_a_late_comer
    assert ask(small_windows, recording, max_speakers="2")["speakers_detected"] == 2


def test_who_is_absent_for_two_windows_is_found_again(
    small_windows: Running, sample_wav: Path
) -> None:
    recording, offsets = joined(
        clip(sample_wav),
        clip(meeting("ami-trn03")),
        clip(meeting("ami-trn05")),
        clip(meeting("ami-trn03")),
        clip(sample_wav, 0.3),
    )
    body = ask(small_windows, recording)
    first = speaker(body, offsets[0], FIRST_OF_SAMPLE)
    second = speaker(body, offsets[0], SECOND_OF_SAMPLE)
    assert first != second
    assert speaker(body, offsets[4], FIRST_OF_SAMPLE) == first
    assert speaker(body, offsets[4], SECOND_OF_SAMPLE) == second
    between = {speaker(body, offsets[number], (0, 30)) for number in (1, 3)}
    assert len(between) == 1
    assert not between & {first, second}


def test_how_loud_somebody_is_does_not_matter(small_windows: Running, sample_wav: Path) -> None:
    recording, offsets = joined(*(clip(sample_wav, gain) for gain in (1.0, 0.1, 0.5, 1.0)))
    body = ask(small_windows, recording)
    assert body["speakers_detected"] == 2
    for said in (FIRST_OF_SAMPLE, SECOND_OF_SAMPLE):
        assert len({speaker(body, offset, said) for offset in offsets}) == 1

"""pyannote through the server, from a local folder (tests/standins/engine_pyannote_folder.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import Running, part

SPEAKERS = "/v1/audio/transcribe-with-speakers"


@pytest.fixture(scope="module")
def pyannote(pyannote_engine: Running) -> Running:
    """The engine of this page, ready."""
    pyannote_engine.wait_until("ready")
    return pyannote_engine


def test_pyannote_from_a_folder_tells_speakers_apart(pyannote: Running, sample_wav: Path) -> None:
    assert pyannote.health()["diarizer"] == "pyannote pipeline"
    # Two windows of 10 s: of one it makes one speaker.
    answer = pyannote.post(SPEAKERS, part(sample_wav, 3, 12), num_speakers="2")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["models"]["diarization"] == "pyannote pipeline"
    assert body["speakers_detected"] == 2
    assert "warnings" not in body  # pyannote obeys the number
    text = " ".join(segment["text"] for segment in body["segments"])
    assert "didn't know you were there" in text


def test_more_speakers_than_a_short_clip_can_have_are_not_made_up(
    pyannote: Running, sample_wav: Path
) -> None:
    answer = pyannote.post(SPEAKERS, part(sample_wav, 3, 12), num_speakers="50")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["speakers_detected"] < 50
    assert "Asked for 50 speakers; " in body["warnings"][0]
    assert "asked again without a number" in pyannote.log.read_text()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_number_holds_for_a_recording_of_several_windows(
    pyannote: Running, sample_wav: Path, number: int
) -> None:
    body = pyannote.post(SPEAKERS, sample_wav, num_speakers=str(number)).json()
    assert body["speakers_detected"] == number
    assert {one["speaker"] for one in body["segments"]} <= {f"Speaker_{n}" for n in range(number)}
    assert "warnings" not in body


def test_pyannote_says_nothing_of_torchcodec(pyannote: Running) -> None:
    assert "torchcodec" not in pyannote.log.read_text()

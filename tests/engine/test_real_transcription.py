"""Whisper itself, through the server: batches, second tries and segments, on real speech."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.data import test_data
from tests.engine.conftest import Running
from tests.engine.made_audio import RATE, silence, wav
from tests.engine.meetings import samples
from tests.engine.test_conversation import plain

TRANSCRIPTIONS = "/v1/audio/transcriptions"
WITH_WORDS = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
# John F. Kennedy, 1961.
SAID = (
    *("and", "so", "my", "fellow", "americans"),
    *("ask", "not", "what", "your", "country", "can", "do", "for", "you"),
    *("ask", "what", "you", "can", "do", "for", "your", "country"),
)


@pytest.fixture(scope="module")
def jfk(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.int16]:
    """11 s of a speech."""
    return samples(test_data("audio/jfk.flac"), tmp_path_factory.mktemp("jfk") / "scratch")


def transcribed(engine: Running, sound: bytes, **fields: str) -> dict[str, Any]:
    """The answer's body."""
    answer = engine.post(TRANSCRIPTIONS, sound, **WITH_WORDS, **fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def said(answer: dict[str, Any]) -> tuple[str, ...]:
    """Its words, plain."""
    return tuple(plain(word["word"]) for word in answer["words"])


def test_every_word_is_there_once_and_in_time(engine: Running, jfk: NDArray[np.int16]) -> None:
    answer = transcribed(engine, wav(jfk))
    assert said(answer) == SAID
    starts = [word["start"] for word in answer["words"]]
    assert starts == sorted(starts)
    assert len(set(starts)) > len(starts) * 0.9  # each has its own time
    assert all(word["start"] <= word["end"] <= 11.0 for word in answer["words"])
    assert plain(" ".join(segment["text"] for segment in answer["segments"])).split() == list(SAID)
    assert all(segment["tokens"] for segment in answer["segments"])


def test_what_seems_to_repeat_itself_is_heard_again(
    engine: Running, jfk: NDArray[np.int16]
) -> None:
    answer = transcribed(engine, wav(np.tile(jfk, 3)))
    assert max(segment["temperature"] for segment in answer["segments"]) > 0
    assert "".join(said(answer)).count("country") >= 4
    once = transcribed(engine, wav(jfk))
    assert {segment["temperature"] for segment in once["segments"]} == {0.0}


def test_times_are_the_recording_s_after_silence(engine: Running, jfk: NDArray[np.int16]) -> None:
    quiet = np.zeros(100 * RATE, dtype=np.int16)
    answer = transcribed(engine, wav(np.concatenate([quiet, jfk, quiet])))
    assert said(answer) == SAID
    assert 99.5 <= answer["words"][0]["start"] <= 101
    assert 108 <= answer["words"][-1]["end"] <= 112
    assert answer["segments"][0]["seek"] in range(9900, 10100)


def test_a_wished_temperature_is_used(engine: Running, jfk: NDArray[np.int16]) -> None:
    answer = transcribed(engine, wav(jfk), temperature="0.2")
    assert {segment["temperature"] for segment in answer["segments"]} == {0.2}
    assert "country" in said(answer)


def test_a_prompt_that_is_far_too_long_is_cut(engine: Running, jfk: NDArray[np.int16]) -> None:
    answer = transcribed(engine, wav(jfk), prompt="I stand in Berlin, and I say. " * 330)
    assert said(answer) == SAID


def test_a_fifth_of_a_second_is_no_error(engine: Running, jfk: NDArray[np.int16]) -> None:
    answer = transcribed(engine, wav(jfk[RATE : RATE + RATE // 5]))
    assert all(word["end"] <= 0.2 for word in answer["words"])


def test_silence_has_no_text(engine: Running) -> None:
    answer = transcribed(engine, silence(40.0))
    assert (answer["text"], answer["segments"], answer["language"]) == ("", [], "english")


def test_segments_are_sentences_and_not_chunks(engine: Running, sample_wav: Path) -> None:
    segments = transcribed(engine, sample_wav.read_bytes())["segments"]
    assert len(segments) > 8
    assert all(segment["end"] - segment["start"] <= 15 for segment in segments)
    assert "This is Diane in New Jersey." in [segment["text"].strip() for segment in segments]

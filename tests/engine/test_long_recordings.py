"""Recordings of minutes and hours: what comes first, what goes before them, what is refused.

Made of different real recordings, one after the other; the tests ask for order, never for times.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from proxy_app.audio.wav import header
from tests.engine.conftest import Running, part
from tests.engine.made_audio import RATE, music
from tests.engine.meetings import joined

SPEAKERS = "/v1/audio/transcribe-with-speakers"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
HOUR_S = 3600


@pytest.fixture(scope="module")
def ten_minutes(sample_wav: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The meetings, the call and the speech, until ten minutes are over."""
    path = tmp_path_factory.mktemp("long") / "ten.wav"
    joined(path, 600, sample_wav)
    return path


@pytest.fixture(scope="module")
def half_an_hour(sample_wav: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for thirty."""
    path = tmp_path_factory.mktemp("long") / "thirty.wav"
    joined(path, 1800, sample_wav)
    return path


def lines(engine: Running, path: str, recording: Path) -> Generator[dict[str, Any], None, None]:
    """A streamed answer, line by line; leaving it hangs up."""
    with (
        recording.open("rb") as file,
        requests.post(
            f"{engine.url}{path}",
            files={"file": file},
            data={"stream": "true"},
            stream=True,
            timeout=120,
        ) as response,
    ):
        assert response.status_code == 200, response.text
        for line in response.iter_lines():
            yield json.loads(line)


def test_the_first_text_of_ten_minutes_is_there_before_a_third_is_done(
    engine: Running, ten_minutes: Path
) -> None:
    found = list(lines(engine, SPEAKERS, ten_minutes))
    kinds = [line["type"] for line in found]
    first_text = kinds.index("segments")
    a_third = next(
        number
        for number, line in enumerate(found)
        if line["type"] == "end" or (line["type"] == "progress" and line["done_s"] >= 200)
    )
    assert first_text < a_third
    assert kinds.count("segments") > 5
    assert kinds[-1] == "end"
    answer = found[-1]["answer"]
    told = [segment for line in found if line["type"] == "speakers" for segment in line["segments"]]
    assert told == answer["segments"]
    assert answer["speakers_detected"] > 2
    done = [line["done_s"] for line in found if line["type"] == "progress"]
    assert done == sorted(done)


@pytest.mark.parametrize("path", [SPEAKERS, TRANSCRIPTIONS])
def test_a_short_clip_is_answered_while_half_an_hour_is_worked_on(
    engine: Running, half_an_hour: Path, sample_wav: Path, path: str
) -> None:
    clip = part(sample_wav, 18, 3)
    long = lines(engine, SPEAKERS, half_an_hour)
    while next(long)["type"] != "segments":
        pass
    answer = engine.post(path, clip).json()
    assert "originally from chicago" in json.dumps(answer).lower()
    assert next(long)["type"] != "end"
    assert engine.health()["in_flight"] == 1
    long.close()  # hangs up
    engine.wait_until_idle()
    assert engine.health()["progress"] is None
    assert "1800.0 s of audio" not in engine.log.read_text()
    assert not engine.left_files()


def test_an_hour_of_silence_has_no_words(engine: Running, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    _sparse_wav(path, HOUR_S)
    body = engine.post(SPEAKERS, path).json()
    assert (body["duration"], body["segments"], body["speakers_detected"]) == (HOUR_S, [], 0)


def test_an_hour_of_music_has_no_speakers(engine: Running, tmp_path: Path) -> None:
    path = tmp_path / "music.wav"
    a_minute = music(60)[44:]
    with path.open("wb") as file:
        file.write(header(60 * len(a_minute)))
        for _ in range(60):
            file.write(a_minute)
    body = engine.post(SPEAKERS, path).json()
    assert (body["duration"], body["segments"], body["speakers_detected"]) == (HOUR_S, [], 0)


def test_six_hours_are_refused_with_the_reason_and_the_setting(
    engine: Running, tmp_path: Path
) -> None:
    path = tmp_path / "six.wav"
    _sparse_wav(path, 6 * HOUR_S)
    with path.open("rb") as file:
        answer = requests.post(f"{engine.url}{SPEAKERS}", files={"file": file}, timeout=120)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (413, "audio_too_long", "file")
    assert "14400 s" in error["message"]
    assert "ENGINE_MAX_AUDIO_S" in error["message"]
    assert not engine.left_files()


def _sparse_wav(path: Path, seconds: int) -> None:
    """Silence that takes no disk."""
    size = seconds * RATE * np.dtype(np.int16).itemsize
    with path.open("wb") as file:
        file.write(header(size))
        file.truncate(44 + size)

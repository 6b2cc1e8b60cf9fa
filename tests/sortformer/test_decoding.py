"""Decoding with what a container has, and with what it has not."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from sortformer_decoding import decode, to_wav
from sortformer_refusals import Refusal
from tests.engine.made_audio import silence
from tests.fleet.engine import MissingError, install
from tests.sortformer.audio import encoded


@pytest.fixture
def m4a(tmp_path: Path) -> Path:
    """Three seconds of a tone that soundfile does not read."""
    path = tmp_path / "upload"
    path.write_bytes(encoded("mp4", "aac", 3))
    return path


def loudness(path: Path) -> float:
    """The root mean square of a WAV that must be as NeMo wants it; 1 is the loudest."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768
    return float(np.sqrt((samples**2).mean()))


def test_pyav_decodes(m4a: Path, tmp_path: Path) -> None:
    assert decode(m4a, tmp_path / "wav", 60) == pytest.approx(3, abs=0.1)
    assert loudness(tmp_path / "wav") == pytest.approx(8000 / 32768 / 2**0.5, abs=0.02)


def test_ffmpeg_decodes_where_pyav_is_missing(
    m4a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        install("ffmpeg", package="ffmpeg")
    except MissingError as missing:
        pytest.skip(str(missing))
    monkeypatch.setitem(sys.modules, "av", None)
    assert decode(m4a, tmp_path / "wav", 60) == pytest.approx(3, abs=0.1)
    assert loudness(tmp_path / "wav") == pytest.approx(8000 / 32768 / 2**0.5, abs=0.02)


def test_where_nothing_decodes_a_format_the_answer_says_so(
    m4a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refusal) as refused:
        decode(m4a, tmp_path / "wav", 60)
    assert (refused.value.status, refused.value.code) == (415, "unsupported_format")
    assert "Send WAV or FLAC" in refused.value.message


def test_no_more_than_the_limit_is_decoded(m4a: Path, tmp_path: Path) -> None:
    assert 1 < decode(m4a, tmp_path / "wav", 1) < 2


def test_a_wav_of_the_wanted_form_is_moved_and_not_decoded(tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(silence(2))
    inode = upload.stat().st_ino
    assert to_wav(upload, tmp_path / "wav", 60) == 2
    assert (tmp_path / "wav").stat().st_ino == inode

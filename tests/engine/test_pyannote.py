"""pyannote through the server, from a local folder (tests/standins/engine_pyannote_folder.py)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import ROOT, Running, part, start

SPEAKERS = "/v1/audio/transcribe-with-speakers"


@pytest.fixture(scope="module")
def pyannote(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An engine whose diarizer is pyannote: `auto`, with a folder configured."""
    folder = tmp_path_factory.mktemp("pyannote")
    module = "tests.standins.engine_pyannote_folder"
    subprocess.run(
        [engine_python, "-m", module, folder / "pipeline"], cwd=ROOT, check=True, timeout=120
    )
    running = start(engine_python, folder, {"ENGINE_PYANNOTE_MODEL": str(folder / "pipeline")})
    try:
        running.wait_until("ready")
        yield running
    finally:
        running.stop()


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


def test_pyannote_says_nothing_of_torchcodec(pyannote: Running) -> None:
    assert "torchcodec" not in pyannote.log.read_text()

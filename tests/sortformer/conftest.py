"""One patched server with the stand-in for NeMo, and one with NeMo, for tests that only ask."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sortformer.patched import ROOT, STANDINS, Parakeet


@pytest.fixture(scope="session")
def sample() -> bytes:
    """30 s of a telephone call of two people, from pyannote.audio's wheel; 16 kHz mono WAV."""
    (found,) = (ROOT / ".venv/engine/lib").glob(
        "python3*/site-packages/pyannote/audio/sample/sample.wav"
    )
    return found.read_bytes()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parakeet]:
    """A stranger's Parakeet with the patch and a stand-in for NeMo that has no faults."""
    with Parakeet(tmp_path_factory.mktemp("server")) as running:
        running.wait_until("ready")
        yield running


@pytest.fixture(scope="session")
def nemo_python() -> Path:
    """The interpreter of an environment with NeMo: PARAKEET_PYTHON, or the one that set-up made."""
    path = Path(os.environ.get("PARAKEET_PYTHON", ROOT / ".venv/parakeet/bin/python"))
    if not path.is_file():
        pytest.skip(f"the environment with NeMo is not there: no {path}")
    return path


@pytest.fixture(scope="session")
def tiny_models(nemo_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny-streaming.nemo and tiny-offline.nemo, which have random weights."""
    folder = tmp_path_factory.mktemp("models")
    command = [str(nemo_python), str(STANDINS / "sortformer_model.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def nemo_server(
    nemo_python: Path, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Parakeet]:
    """A stranger's Parakeet with the patch, NeMo and a tiny streaming model of random weights."""
    folder = tmp_path_factory.mktemp("nemo")
    model = tiny_models / "tiny-streaming.nemo"
    with Parakeet(folder, model=model, python=nemo_python, real=True) as running:
        running.wait_until("ready")
        yield running

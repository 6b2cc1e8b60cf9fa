"""One patched server with the stand-in for NeMo, and one with NeMo, for tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny_models as models
from tests.sortformer.patched import ROOT, Parakeet


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
    """The interpreter of an environment with NeMo."""
    return models.nemo_python()


@pytest.fixture(scope="session")
def tiny_models(nemo_python: Path) -> Path:
    """A folder with tiny-streaming.nemo and tiny-offline.nemo, which have random weights."""
    return models.tiny_models()


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

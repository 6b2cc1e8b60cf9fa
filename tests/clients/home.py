"""What `make up` starts, with a password as on a network, and what real clients do with it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.api.conftest import free_port
from tests.clients.wire import Wire
from tests.standins.listener import Listener
from tests.standins.upstream_llm import StandInLLM
from tests.standins.upstream_speech import Magpie

ROOT = Path(__file__).resolve().parents[2]
GATEWAY_PYTHON = ROOT / ".venv/gateway/bin/python"
PASSWORD = "only the page is opened with this"
# On a machine that is busy with other tests.
UP_WITHIN_S = 300
CLIENT_WITHIN_S = 300


@dataclass
class Home:
    """A gateway and an engine, and the stand-ins for what needs a GPU."""

    environ: dict[str, str]
    wire: Wire
    """Clients go through it; what they and the gateway say is kept."""
    llm: StandInLLM
    magpie: Magpie
    listener: Listener
    """Is told of the ends of audio jobs."""
    key: str

    @property
    def root(self) -> str:
        """The gateway's address, as clients have it."""
        return f"http://127.0.0.1:{self.wire.port}"

    @property
    def v1(self) -> str:
        """What clients are set to: `base_url`, `api_base`, `OPENAI_BASE_URL`."""
        return f"{self.root}/v1"

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def command(self, *words: str) -> str:
        """What one of the gateway's commands prints."""
        return command(self.environ, *words)

    def post(self, path: str, **how: Any) -> requests.Response:  # noqa: ANN401 - requests' own
        """A request that was recorded, sent again; with the key unless `headers` are given."""
        headers = how.pop("headers", self.bearer)
        return requests.post(self.v1 + path, headers=headers, timeout=CLIENT_WITHIN_S, **how)

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(self.v1 + path, headers=headers, timeout=CLIENT_WITHIN_S)

    def delete(self, path: str) -> requests.Response:
        return requests.delete(self.v1 + path, headers=self.bearer, timeout=CLIENT_WITHIN_S)

    def worked(self) -> float:
        """How many recordings went to the engine so far, as /metrics tells it."""
        url = f"http://127.0.0.1:{self.environ['SPEECH_PORT']}/metrics"
        text = requests.get(url, headers=self.bearer, timeout=30).text
        lines = [line for line in text.splitlines() if line.startswith(UPSTREAM_COUNT)]
        return sum(float(line.rpartition(" ")[2]) for line in lines if 'service="whisperx"' in line)


UPSTREAM_COUNT = "speech_upstream_duration_seconds_count"


def command(environ: dict[str, str], *words: str) -> str:
    """Run one of the gateway's commands with its settings; what it prints."""
    done = subprocess.run(
        [GATEWAY_PYTHON, "-m", "proxy_app", *words],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=UP_WITHIN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def home(state: Path) -> Iterator[Home]:
    """Start all of it with the command that `make up` runs."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", str(state)),
        "ENGINE_DEVICE": "cpu",
        "SPEECH_STATE_DIR": str(state),
        "SPEECH_SERVICES_DIR": str(state / "services.d"),
        "SPEECH_PORT": str(free_port()),
        "SPEECH_ADMIN_PASSWORD": PASSWORD,
        "SPEECH_OPEN_LISTS": "true",  # as docs/text-to-speech.md has it for Open WebUI
        "WHISPERX_PORT": str(free_port()),
    }
    with StandInLLM() as llm, Magpie() as magpie, Listener() as listener:
        environ |= listener.settings
        register(state, "llm", kind="llm", api="openai", base_url=_at(llm.port))
        register(state, "magpie", kind="tts", api="magpie", base_url=_at(magpie.port))
        try:
            command(environ, "up")
            key = command(environ, "control", "keys", "add", "clients").strip()
            with Wire(int(environ["SPEECH_PORT"])) as wire:
                yield Home(environ, wire, llm, magpie, listener, key)
        finally:
            command(environ, "down")


def register(state: Path, name: str, **fields: str) -> None:
    """As a playbook does."""
    folder = state / "services.d"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"host": "spark1", **fields}))


def _at(port: int) -> str:
    return f"http://127.0.0.1:{port}"

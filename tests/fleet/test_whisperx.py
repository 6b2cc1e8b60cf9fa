"""The WhisperX server on a host, by its own playbook, from nothing to speech with speakers.

Images, containers, SSH, weights and recording are real. The tests here build on one another.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy_app.config import load_config
from proxy_app.services import Registry, Service
from tests.fleet.fleet import Fleet
from tests.fleet.images import ca_bundle
from tests.fleet.playbooks import ROOT, Playbooks, Result
from tests.fleet.spark import Spark

WITHIN_S = 120


@dataclass(frozen=True)
class Site:
    """The fleet, with all that the playbooks are told."""

    fleet: Fleet
    playbook: Playbooks
    inventory: Path
    folder: Path

    def run(self, name: str, *arguments: str, **extra: Any) -> Result:  # noqa: ANN401
        """Run a playbook to its end."""
        return self.playbook(name, *arguments, inventory=self.inventory, timeout=1500, **extra)

    def service(self, name: str) -> Service:
        """A service as the gateway reads it."""
        config = load_config({"SPEECH_SERVICES_DIR": str(self.folder / "services.d")})
        (found,) = (one for one in Registry(config).read().services if one.name == name)
        return found

    def post(self, name: str, path: str, audio: Path, **fields: str) -> requests.Response:
        """Upload a recording to a service, with its key."""
        service = self.service(name)
        with audio.open("rb") as file:
            return requests.post(
                f"{service.base_url}{path}",
                files={"file": file},
                data=fields,
                headers={"Authorization": f"Bearer {service.api_key}"},
                timeout=300,
            )


@pytest.fixture(scope="module")
def sample() -> Path:
    """30 s of a telephone call of two people, from pyannote.audio's wheel."""
    python = Path(os.environ.get("ENGINE_PYTHON", ROOT / ".venv/engine/bin/python"))
    packages = python.parent.parent / "lib"
    found = sorted(packages.glob("python3*/site-packages/pyannote/audio/sample/sample.wav"))
    if not found:
        pytest.skip(f"the engine's environment is not there: no sample beside {python}")
    return found[0]


@pytest.fixture(scope="module")
def site(
    fleet: Fleet,
    playbook: Playbooks,
    tmp_path_factory: pytest.TempPathFactory,
) -> Site:
    """Nothing is installed yet; it goes with the fleet."""
    folder = tmp_path_factory.mktemp("site")
    inventory = fleet.inventory(
        speech_services_dir=str(folder / "services.d"),
        speech_build_network="host",
        speech_ca_bundle=str(ca_bundle() or ""),
        speech_wheelhouse=wheelhouse(folder / "wheels"),
        whisperx_model="bundled",
    )
    return Site(fleet, playbook, inventory, folder)


def wheelhouse(folder: Path) -> str:
    """A folder with torch's CPU build where pip's own settings lead to one, else nothing."""
    pins = (ROOT / "requirements/engine.lock").read_text().splitlines()
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    pip = [str(ROOT / ".venv/setup/bin/python"), "-m", "pip", "download", "--quiet"]
    command = [*pip, "--no-deps", "--no-index", "--dest", str(folder), torch]
    done = subprocess.run(command, capture_output=True, check=False)
    return str(folder) if done.returncode == 0 else ""


def wait_for(condition: Any, what: str) -> None:  # noqa: ANN401 - any callable
    """Wait for what another process does, but not for ever."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.5)


def test_whisperx_is_installed_from_nothing(site: Site, spark1: Spark, sample: Path) -> None:
    done = site.run("whisperx")
    assert done.rc == 0, done.out
    answer = site.post("whisperx", "/v1/audio/transcribe-with-speakers", sample)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["speakers_detected"] == 2
    text = " ".join(segment["text"] for segment in body["segments"])
    assert "didn't know you were there" in text


def test_its_container_is_as_promised(site: Site, spark1: Spark) -> None:
    (container,) = json.loads(spark1.docker("inspect", "whisperx-asr"))
    host = container["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 40 * 1024**3
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["ReadonlyRootfs"]
    assert container["Config"]["User"] == "1000:1000"
    assert container["Config"]["Healthcheck"]["StartPeriod"] > 0
    wait_for(
        lambda: "healthy" in spark1.docker("ps", "--filter", "health=healthy"),
        "a healthy container",
    )


def test_it_answers_nobody_without_the_key(site: Site, sample: Path) -> None:
    url = site.service("whisperx").base_url
    with sample.open("rb") as file:
        answer = requests.post(f"{url}/v1/audio/transcriptions", files={"file": file}, timeout=60)
    assert answer.status_code == 401
    assert requests.get(f"{url}/health", timeout=10).json()["whisper_loaded"]

"""Both hosts with all of playbooks/site.yml: WhisperX and Magpie, Parakeet and Sortformer.

Parakeet's and Sortformer's weights are tiny and random, and Magpie is a stand-in; images,
containers, SSH and all the rest are real.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from proxy_app.config import load_config
from proxy_app.services import Registry, Service
from tests.fleet.fleet import Fleet
from tests.fleet.images import ca_bundle
from tests.fleet.playbooks import ROOT, Playbooks, Result
from tests.fleet.spark import Spark
from tests.site.mirror import Mirror
from tests.tiny_models import tiny_models

MODELS = "/home/spark/models"
NAMES = ("whisperx", "parakeet", "sortformer", "magpie")
TAKES_S = 1500


@dataclass(frozen=True)
class Site:
    """The fleet, with all that the playbooks are told."""

    fleet: Fleet
    playbook: Playbooks
    inventory: Path
    folder: Path
    """Holds what control registers."""
    mirror: Mirror
    """Where builds get their packages from."""

    def run(self, name: str | Path, *arguments: str, **extra: Any) -> Result:  # noqa: ANN401
        """Run a playbook to its end."""
        return self.playbook(name, *arguments, inventory=self.inventory, timeout=TAKES_S, **extra)

    @property
    def services(self) -> dict[str, Service]:
        """What is registered, as the gateway reads it."""
        config = load_config({"SPEECH_SERVICES_DIR": str(self.folder / "services.d")})
        return {service.name: service for service in Registry(config).read().services}

    def post(self, name: str, path: str, audio: Path, **fields: str) -> requests.Response:
        """Upload a recording to a service, with its key."""
        service = self.services[name]
        with audio.open("rb") as file:
            return requests.post(
                f"{service.base_url}{path}",
                files={"file": file},
                data=fields,
                headers={"Authorization": f"Bearer {service.api_key}"},
                timeout=300,
            )


def make_site(fleet: Fleet, playbook: Playbooks, folder: Path, mirror: Mirror) -> Site:
    """Give the hosts what no playbook brings: models, and the image of the stand-in for Magpie."""
    (folder / "pip.conf").write_text(mirror.pip_conf)
    bring_models(fleet.sparks[-1])
    fleet.load(fleet.sparks[0], [fleet.images.magpie])
    inventory = fleet.inventory(
        speech_services_dir=str(folder / "services.d"),
        speech_build_network="host",
        speech_ca_bundle=str(ca_bundle() or ""),
        speech_pip_conf=str(folder / "pip.conf"),
        speech_wheelhouse=wheelhouse(folder / "wheels"),
        whisperx_model="bundled",
        parakeet_model="/models/tiny-random.nemo",
        parakeet_models_dir=MODELS,
        parakeet_memory_needed="1GB",
        sortformer_model="/models/tiny-streaming.nemo",
        magpie_image=fleet.images.magpie,
        magpie_memory_needed="1GB",
        magpie_disk_needed="1GB",
    )
    return Site(fleet, playbook, inventory, folder, mirror)


def bring_models(spark: Spark) -> None:
    """Put tiny random models on a host."""
    identity = ["-i", str(spark.folder / "client_key")]
    copy = ["scp", "-q", "-r", *spark.ssh_options, *identity, str(tiny_models())]
    subprocess.run([*copy, f"spark@{spark.address}:{MODELS}"], check=True)


def wheelhouse(folder: Path) -> str:
    """A folder with torch's CPU build where pip's own settings lead to one, else nothing."""
    pins = (ROOT / "requirements/engine.lock").read_text().splitlines()
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    pip = [str(ROOT / ".venv/setup/bin/python"), "-m", "pip", "download", "--quiet"]
    command = [*pip, "--no-deps", "--no-index", "--dest", str(folder), torch]
    done = subprocess.run(command, capture_output=True, check=False)
    return str(folder) if done.returncode == 0 else ""


def sample() -> Path | None:
    """30 s of a telephone call of two people, from pyannote.audio's wheel."""
    python = Path(os.environ.get("ENGINE_PYTHON", ROOT / ".venv/engine/bin/python"))
    packages = python.parent.parent / "lib"
    found = sorted(packages.glob("python3*/site-packages/pyannote/audio/sample/sample.wav"))
    return found[0] if found else None

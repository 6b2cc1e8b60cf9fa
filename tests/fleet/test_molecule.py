"""The scenarios of molecule/ on the fleet: there, again, and back."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.playbooks import ROOT, Playbooks, ansible
from tests.fleet.spark import Spark

WITHIN_S = 600


@pytest.fixture(scope="module", autouse=True)
def molecule_is_there() -> None:
    if importlib.util.find_spec("molecule") is None:
        pytest.skip("molecule is not there: `make test` installs it")


def molecule(scenario: str, playbook: Playbooks, inventory: Path) -> str:
    """Run all steps of a scenario; what it printed."""
    environment = playbook.environment()
    # Of this repository's ansible.cfg molecule keeps nothing: it writes one of its own.
    del environment["ANSIBLE_CONFIG"]
    packages = ansible("ansible-playbook").parent.parent.glob("lib/python3*/site-packages")
    collections = os.pathsep.join(map(str, (ROOT / "collections", *packages)))
    done = subprocess.run(
        [sys.executable, "-m", "molecule", "test", "-s", scenario],
        cwd=ROOT,
        env=environment
        | {
            "SPEECH_FLEET_INVENTORY": str(inventory),
            "ANSIBLE_COLLECTIONS_PATH": collections,
            "ANSIBLE_PIPELINING": "True",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_service_that_is_described_by_data(
    fleet: Fleet, playbook: Playbooks, spark1: Spark, tmp_path: Path
) -> None:
    inventory = fleet.inventory(
        {"managed_service": [spark1]},
        speech_services_dir=str(tmp_path / "services.d"),
        tiny_image=fleet.images.tiny,
    )
    out = molecule("managed_service", playbook, inventory)
    assert "managed_service > idempotence: Executed: Successful" in out
    assert (
        spark1.ssh("docker ps -aq; find ~/.spark-speech -type f 2>/dev/null || true").stdout == ""
    )

"""Run a scenario of molecule/ on the fleet."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.playbooks import ROOT, Playbooks, ansible

WITHIN_S = 900


def molecule(scenario: str, playbook: Playbooks, inventory: Path) -> str:
    """Run all steps of a scenario; what it printed."""
    if importlib.util.find_spec("molecule") is None:
        pytest.skip("molecule is not there: `make test` installs it")
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

"""Values that would be a template, a command, an option or a line of their own, in every variable.

One run tells it all: each variable of each role is that of a host of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fleet.fleet import Fleet
from tests.fleet.playbooks import ROOT, Playbooks
from tests.fleet.refusals import Case, told, unsafe

ROLES = ROOT / "collections/ansible_collections/spark/speech/roles"
VALUE = "-{{ lookup('ansible.builtin.pipe', 'touch PWNED') }}; touch PWNED\nx"
SAID = {
    "apt_sources": "there is no file",
    "ca_bundle": "there is no file",
    "hf_token_file": "there is no file",
    "ngc_key_file": "there is no file",
    "pip_conf": "there is no file",
    "tls_cert_file": "set both, or neither",
    "tls_key_file": "set both, or neither",
    "ssh_key_file": "set both, or neither",
    "known_hosts_file": "set both, or neither",
    "wheelhouse": "There is no folder",
    "inventory": "there is no folder",
    "base_image": "write an image",
    "cuda_base_image": "write an image",
    "image": "is not the name of an image",
    "container": "a name that Docker takes",
    "bind_address": "is not an IP address",
    "memory": "such as 40g",
    "memory_needed": "such as 12GB",
    "disk_needed": "such as 12GB",
    "model": "the path of a .nemo file",
    "models_dir": "cannot be mounted",
    "services_dir": "write a path on the host",
    "state_dir": "a path that begins with",
    "app_dir": "must be a path from the root",
}
"""What is said, by the end of the variable's name."""


def texts(role: str) -> list[str]:
    """The variables of a role that may hold any text."""
    spec = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())
    options: dict[str, Any] = spec["argument_specs"]["main"]["options"]
    return [name for name, of in options.items() if of["type"] == "str" and "choices" not in of]


CASES = {
    variable: role
    for role in ("whisperx", "parakeet", "sortformer", "magpie", "control")
    for variable in texts(role)
}


@pytest.fixture(scope="module")
def messages(
    fleet: Fleet, playbook: Playbooks, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What each variable's host is told."""
    folder = tmp_path_factory.mktemp("variables")
    value = unsafe(VALUE.replace("PWNED", str(folder / "PWNED")))
    cases = {name: Case(role, {name: value}) for name, role in CASES.items()}
    texts = told(playbook, fleet.sparks[-1], folder, cases)
    assert not list(folder.glob("PWNED"))
    return texts


def test_there_is_a_word_for_each_variable() -> None:
    assert len(CASES) > 50
    assert {variable.removeprefix(f"{role}_") for variable, role in CASES.items()} == set(SAID)


@pytest.mark.parametrize("variable", CASES)
def test_what_no_variable_can_be_is_told(messages: dict[str, str], variable: str) -> None:
    assert SAID[variable.removeprefix(f"{CASES[variable]}_")] in messages[variable]
    assert "Traceback" not in messages[variable]


def test_nothing_was_done(fleet: Fleet, messages: dict[str, str]) -> None:
    assert messages
    left = fleet.sparks[-1].ssh("ls -A ~ | grep -ve '^[.]' ; find ~ -name PWNED").stdout
    assert "PWNED" not in left
    assert "{{" not in left
    assert not Path("PWNED").exists()

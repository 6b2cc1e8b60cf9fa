"""What makes no sense, or what a host cannot do, is told before anything is done there.

Values that are no such value at all are those of test_every_variable.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.playbooks import Playbooks
from tests.fleet.refusals import Case, told
from tests.fleet.tiny_service import TinyService, make_tiny_service

CASES: dict[str, tuple[str, Any, str]] = {
    "container_space": ("container", "a b", "a name that Docker takes"),
    "state": ("state", "gone", "must be one of: present"),
    "kind": ("kind", "cook", "must be one of"),
    "port": ("port", "http", "cannot be converted to an int"),
    "build_path": ("build", {"name": "../../etc"}, "needs a name, that of a folder of images"),
    "build_dash": ("build", {"name": "-"}, "needs a name, that of a folder of images"),
    "build_network": ("build", {"name": "tiny", "network": "; id"}, "value of network must be"),
    "setting_name": ("run", {"env": {"A B": "c"}}, "is no setting"),
    "setting_secret": ("run", {"env": {"HF_TOKEN": "hf_s"}}, "Roles take secrets as files"),
    "secret_file": ("secrets", {"hf_token": "/nowhere/token"}, "no file /nowhere/token"),
    "memory": ("memory_needed", "1000TB", "of memory are available"),
    "disk": ("disk_needed", "100000TB", "of disk are free"),
    "gpu": ("gpu", "true", "cannot use an NVIDIA GPU"),
    "rollback": ("rollback", True, "No other image of tiny"),
}


@pytest.fixture(scope="module")
def tiny(
    fleet: Fleet, playbook: Playbooks, tmp_path_factory: pytest.TempPathFactory
) -> TinyService:
    return make_tiny_service(fleet, playbook, fleet.sparks[-1], tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def messages(tiny: TinyService) -> dict[str, str]:
    """What each case is told."""
    cases = {
        name: Case("managed_service", {f"managed_service_{variable}": value})
        for name, (variable, value, _said) in CASES.items()
    }
    return told(tiny.playbook, tiny.spark, tiny.folder, cases, tiny.variables())


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_is_told(messages: dict[str, str], case: str) -> None:
    assert CASES[case][2] in messages[case]
    assert "Traceback" not in messages[case]


def test_nothing_was_done(tiny: TinyService, messages: dict[str, str]) -> None:
    assert len(messages) == len(CASES)
    assert tiny.left() == ""
    assert not tiny.registration.exists()

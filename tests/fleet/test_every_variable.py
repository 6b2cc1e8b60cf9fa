"""Values that would be an option, a template, a command or a line of their own, in every variable.

One run tells it all: each value is that of a host of its own, and all these hosts are one Spark.

What is covered: each variable of each role that takes text, a list or a dict is here, or in
ELSEWHERE with the reason why not. The four values are each a good one with something bad at it,
so that none is refused for what another one has. All four are tried on each variable of
managed_service that it checks itself, and on those that another role checks itself. What a role
only hands on to such a check, or names a file that has to be there, is tried with one of the
four: which one goes round.

What is not covered: two of them at once, and variables with choices, numbers and truths, which
Ansible checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.fleet.fleet import Fleet
from tests.fleet.playbooks import ROOT, Playbooks
from tests.fleet.refusals import Case, told, unsafe, unsafe_key

ROLES = ROOT / "collections/ansible_collections/spark/speech/roles"
TEMPLATE = "{{ lookup('ansible.builtin.pipe', 'touch PWNED') }}"
COMMAND = "; touch PWNED"
KINDS = ("option", "template", "command", "line")


class Refusal(NamedTuple):
    """What is said to a bad value, and a good one."""

    said: str
    good: str
    four: bool = False
    """Whether it is tried with all four values also where a role hands it on."""


FILE = Refusal("there is no file", "/no/such/file")
PAIR = Refusal("set both, or neither", "/no/such/file")
FOLDER = Refusal("here is no folder", "/no/such/folder")
IMAGE = Refusal("write an image", "debian:12")
NEEDED = Refusal("such as 12GB", "1GB")
MODEL = Refusal("the path of a .nemo file", "/models/a.nemo", four=True)
REFUSALS = {
    "admin_password_file": FILE,
    "apt_sources": FILE,
    "ca_bundle": FILE,
    "hf_token_file": FILE,
    "ngc_key_file": FILE,
    "pip_conf": FILE,
    "tls_cert_file": PAIR,
    "tls_key_file": PAIR,
    "ssh_key_file": PAIR,
    "known_hosts_file": PAIR,
    "wheelhouse": FOLDER,
    "inventory": FOLDER,
    "base_image": IMAGE,
    "cuda_base_image": IMAGE,
    "image": Refusal("is not the name of an image", "debian:12"),
    "container": Refusal("a name that Docker takes", "a"),
    "bind_address": Refusal("is not an IP address", "127.0.0.1"),
    "memory": Refusal("such as 40g", "40g"),
    "memory_needed": NEEDED,
    "disk_needed": NEEDED,
    "model": MODEL,
    "models_dir": Refusal("cannot be mounted", "/models"),
    "services_dir": Refusal("write a path on the host", "/services.d", four=True),
    "state_dir": Refusal("a path that begins with", "/tmp/state"),
    "app_dir": Refusal("must be a path from the root", "/app", four=True),
    "name": Refusal("small letters, digits and dashes", "a"),
    "allowed_hosts": Refusal("is no host name", "spark.local", four=True),
    "settings": Refusal("is no setting", "A"),
    "trusted_proxies": Refusal("is no address or network", "172.17.0.1", four=True),
}
"""By the end of the variable's name."""
# The same of what lies in managed_service's lists and dicts; {} is where the value goes.
INSIDE = {
    "build_name": ('{"build": {"name": {}}}', Refusal("needs a name, that of a folder", "a")),
    "base_image": ('{"build": {"name": "a", "arguments": {"BASE_IMAGE": {}}}}', IMAGE),
    "pip_conf": ('{"build": {"name": "a", "pip_conf": {}}}', FILE),
    "wheelhouse": ('{"build": {"name": "a", "wheelhouse": {}}}', FOLDER),
    "run_memory": ('{"run": {"memory": {}}}', REFUSALS["memory"]),
    "run_mounts": ('{"run": {"mounts": [{}]}}', Refusal("cannot be mounted", "/a:/b")),
    "run_env": ('{"run": {"env": {{}: "x"}}}', REFUSALS["settings"]),
    "secrets": ('{"secrets": {"a": {}}}', FILE),
    "password_file": ('{"registry": {"password_file": {}}}', FILE),
}
ELSEWHERE = {
    "managed_service_title": "any text is good: test_faults sees it arrive as it is",
    "managed_service_model": "any text is good, as the title is",
    "managed_service_by": "any text is good: it is written as one line",
    "managed_service_base_url": "Ansible does not read it; the gateway refuses bad ones itself",
    "managed_service_health_path": "a part of the address that is asked",
    "managed_service_health_expect": "compared with an answer, and with nothing else",
    "managed_service_health_gives_up": "compared with an answer, and with nothing else",
    "managed_service_key_path": "a path on the host, of a file that is read or is not there",
    "managed_service_sources": "a path on this machine, of a folder that is read or is not there",
    "managed_service_build": "INSIDE",
    "managed_service_run": "INSIDE; what else it has goes to Docker, and its values are any text",
    "managed_service_registry": "INSIDE; what else it has goes to Docker's login",
    "managed_service_secrets": "INSIDE",
    "sortformer_settings": "written into the patch as JSON: tests/sortformer",
}


def bad(kind: str, good: str) -> str:
    """A good value with something at it; a path would hold it, so there it goes before."""
    more = {"template": TEMPLATE, "command": COMMAND, "line": "\n"}
    if kind == "option":
        return f"-{good}"
    if kind == "line" or not good.startswith("/"):
        return f"{good}{more[kind]}"
    return f"{more[kind]}{good}"


def variables() -> Iterator[tuple[str, str, str]]:
    """Role, name and type of all variables that may hold any text."""
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        spec = yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
        for name, of in spec.items():
            if of["type"] in ("str", "list", "dict") and "choices" not in of:
                yield path.parents[1].name, name, of["type"]


class Tried(NamedTuple):
    """A value of a variable, and what is said to it."""

    case: Case
    said: str


def cases() -> dict[str, Tried]:
    """Each value that is tried, by the name of its host."""
    found: dict[str, Tried] = {}
    turn = 0
    for role, name, type_ in variables():
        if name in ELSEWHERE:
            continue
        refusal = REFUSALS[name.removeprefix(f"{role}_")]
        all_four = refusal.four or role in ("managed_service", "sortformer")
        for kind in KINDS if all_four else (KINDS[turn % 4],):
            text = bad(kind, refusal.good)
            by_type = {"list": [unsafe(text)], "dict": {unsafe_key(text): "x"}}
            given: Any = by_type.get(type_, unsafe(text))
            found[f"{name}_{kind}"] = Tried(Case(role, {name: given}), refusal.said)
        turn += 1
    for where, (form, refusal) in INSIDE.items():
        for kind in KINDS:
            text = bad(kind, refusal.good)
            value = json.dumps(unsafe_key(text) if where == "run_env" else unsafe(text))
            given = json.loads(form.replace("{}", value))
            named = {f"managed_service_{name}": of for name, of in given.items()}
            host = f"managed_service_inside_{where}_{kind}"
            found[host] = Tried(Case("managed_service", named), refusal.said)
    return found


CASES = cases()


def with_folder(value: Any, folder: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Each case's values, with the file that must not appear in a folder of this run."""
    return json.loads(json.dumps(value).replace("PWNED", str(folder / "PWNED")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("variables")


@pytest.fixture(scope="module")
def before(fleet: Fleet) -> str:
    """What is in the home of who logs in."""
    return left(fleet)


def left(fleet: Fleet) -> str:
    """What is on the host where a command, a path or a container of these cases would leave it."""
    look = (
        "ls -A ~ /tmp | grep -vx -e .ansible -e .spark-speech; find ~/.spark-speech -mindepth 1; "
        "docker ps -aq; docker volume ls -q; find / -xdev -name 'PWNED*' 2>/dev/null || true"
    )
    return fleet.sparks[-1].ssh(look).stdout


@pytest.fixture(scope="module")
def messages(fleet: Fleet, playbook: Playbooks, folder: Path, before: str) -> dict[str, str]:
    """What each value's host is told."""
    common = {
        "managed_service_name": "every-variable",
        "managed_service_container": "every-variable",
        "managed_service_registered": False,
    }
    given = {
        name: Case(tried.case.role, with_folder(tried.case.variables, folder))
        for name, tried in CASES.items()
    }
    return told(playbook, fleet.sparks[-1], folder, given, common)


def test_every_variable_is_tried_or_it_is_said_why_not() -> None:
    names = [name for _role, name, _type in variables()]
    tried = {name for of in CASES.values() for name in of.case.variables}
    assert set(names) == tried | set(ELSEWHERE)
    assert len(names) > 75


@pytest.mark.parametrize("name", CASES)
def test_what_no_variable_can_be_is_told(messages: dict[str, str], name: str) -> None:
    assert CASES[name].said in messages[name]
    assert "Traceback" not in messages[name]


def test_nothing_was_done(
    fleet: Fleet, messages: dict[str, str], folder: Path, before: str
) -> None:
    assert messages.keys() == CASES.keys()
    assert left(fleet) == before
    assert not [*folder.glob("PWNED*"), *ROOT.glob("PWNED*"), *Path().glob("PWNED*")]

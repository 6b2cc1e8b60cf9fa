"""Many cases of what a role refuses, in one run of Ansible.

Each case is a host of its own in the inventory, and all these hosts are one Spark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.fleet.playbooks import Playbooks
from tests.fleet.spark import Spark


class Case(NamedTuple):
    """A role, and what it is given."""

    role: str
    variables: Mapping[str, Any]


def unsafe(text: str) -> dict[str, str]:
    """A text that Ansible must not take for a template."""
    return {"__ansible_unsafe": text}


def unsafe_key(text: str) -> str:
    """The same as the key of a dict, which is a template too where a role makes a list of keys."""
    return f"__ansible_unsafe:{text}"


def told(
    playbook: Playbooks,
    spark: Spark,
    folder: Path,
    cases: Mapping[str, Case],
    common: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """What each case is told, of which all are refused, and change nothing.

    COMMON is what all of them are given. The inventory and the play are written to FOLDER.
    """
    hosts = {
        name: {**spark.variables, "role_of_case": case.role, **case.variables}
        for name, case in cases.items()
    }
    everything = {"all": {"vars": dict(common or {}), "children": {"cases": {"hosts": hosts}}}}
    inventory, plays = folder / "cases.yml", folder / "play.yml"
    # As YAML, whose tag keeps a text from being a template.
    written = json.dumps(everything)
    tagged = re.sub(r'\{"__ansible_unsafe": ("(?:[^"\\]|\\.)*")\}', r"!unsafe \1", written)
    tagged = re.sub(r'"__ansible_unsafe:((?:[^"\\]|\\.)*":)', r'!unsafe "\1', tagged)
    inventory.write_text(tagged)
    role = {"ansible.builtin.include_role": {"name": "spark.speech.{{ role_of_case }}"}}
    plays.write_text(json.dumps([{"hosts": "cases", "gather_facts": False, "tasks": [role]}]))
    done = playbook(plays, inventory=inventory)
    assert done.rc != 0, done.out
    assert set(done.changed.values()) == {0}, done.out
    assert set(done.failed.values()) == {1}, done.out
    found = re.split(r"^(?:fatal|failed): \[(\w+)", done.out, flags=re.MULTILINE)[1:]
    texts: dict[str, str] = {}
    for name, text in zip(found[::2], found[1::2], strict=True):
        texts[name] = texts.get(name, "") + " ".join(text.split())
    return texts


def all_told(
    playbook: Playbooks,
    spark: Spark,
    folder: Path,
    role: str,
    cases: Mapping[str, tuple[Mapping[str, Any], str]],
) -> None:
    """See that a role says to each case (what it is given) what belongs to it."""
    texts = told(playbook, spark, folder, {name: Case(role, of[0]) for name, of in cases.items()})
    assert [name for name, (_given, said) in cases.items() if said not in texts[name]] == [], texts

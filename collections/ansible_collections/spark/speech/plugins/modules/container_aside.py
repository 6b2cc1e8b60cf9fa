#!/usr/bin/python
# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Set a container aside while its successor is tried, and bring it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_aside
short_description: Set a container aside while its successor is tried
description:
  - Stops a container and renames it to NAME-previous, so that a successor can have its name and
    ports, and brings it back with everything it was made with.
  - What was there is written down on the host before anything changes, so that a run that was
    interrupted is continued by the next one, or taken back by O(state=back).
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  container:
    description: The name of the container.
    type: str
    required: true
  state:
    description:
      - V(aside) stops the container and renames it to NAME-previous. Where an earlier run did that
        and never finished, NAME-previous is kept and the unfinished NAME is removed. Any other
        NAME-previous is out of date and is removed.
      - V(back) puts back what was there before V(aside) - NAME is removed, NAME-previous gets its
        name and is started if it ran. If nothing was there, NAME is removed.
        Without an earlier V(aside) nothing happens.
      - V(gone) removes NAME-previous, once its successor has proven itself.
      - V(absent) removes both.
    type: str
    choices: [aside, back, gone, absent]
    required: true
  service:
    description:
      - Whose container it is, by its label C(spark.speech.service). Another one of its name is
        refused, and another NAME-previous is refused or left alone. Without it no label counts.
    type: str
  adopt:
    description: Take a container without that label for the service's own.
    type: bool
    default: false
  state_dir:
    description: What was there is written down in the folder C(aside) in here.
    type: path
    default: ~/.spark-speech
  stop_timeout_s:
    description: Seconds that a container is given to stop before it is killed.
    type: int
    default: 30
attributes:
  check_mode:
    description: Nothing is changed. What would be is returned.
    support: full
  diff_mode:
    description: The two names, and how the containers are that have them.
    support: full
  idempotent:
    description: Each state may be asked for again.
    support: full
"""

EXAMPLES = r"""
- name: Run | Ensure the container that is replaced can come back
  spark.speech.container_aside:
    container: whisperx-asr
    state: aside

- name: Restore | Ensure the container that was there is back
  spark.speech.container_aside:
    container: whisperx-asr
    state: back
"""

RETURN = r"""
said:
  description: What was done, in a sentence.
  returned: success
  type: str
  sample: whisperx-asr is the container that it was before, and was started.
containers:
  description: The two names, and how the containers are that have them now, in Docker's words.
  returned: success
  type: dict
  sample: {whisperx-asr: running, whisperx-asr-previous: absent}
"""

import contextlib
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import (
    Docker,
    check_names,
    strangers,
)
from ansible_collections.spark.speech.plugins.module_utils.whole_files import put, words

_SUFFIX = "-previous"
_ALIVE = ("running", "restarting", "paused")
_MAX_RECORD_BYTES = 4096
_MAX_STOP_S = 3600
_SETTLES_S = 3  # a program that cannot use its settings ends at once, and Docker starts it again


class Seen(NamedTuple):
    """A container as the plan needs to know it; `status` is Docker's word."""

    id: str
    status: str

    @property
    def alive(self) -> bool:
        """Whether it runs, or would if it could."""
        return self.status in _ALIVE


class Record(NamedTuple):
    """What was there before: a container's id, or None for nothing, and whether it ran."""

    id: str | None
    ran: bool


class Plan(NamedTuple):
    """What Docker is told, one command after the other, and how things are then.

    `record` is on the host before the first command, so that each of them may be the last one that
    is carried out; it is removed after the last if they are `finally_done`.
    """

    commands: list[list[str]]
    now: Seen | None
    previous: Seen | None
    record: Record | None
    finally_done: bool
    said: str


def plan_aside(
    name: str, now: Seen | None, previous: Seen | None, record: Record | None, stop_s: int
) -> Plan:
    """Free the name and the ports of `name`; `record` is what an unfinished run wrote down."""
    old = name + _SUFFIX
    commands = []
    unfinished = previous is not None and record is not None and record.id == previous.id
    if now and previous and unfinished:
        commands.append(_remove(name))
        now = None
    elif now and previous:
        commands.append(_remove(old))
        previous = None
    if now:
        ran = now.alive or (record is not None and record.id == now.id and record.ran)
        commands += _stop(name, now, stop_s)
        commands.append(["rename", name, old])
        aside, record = now, Record(now.id, ran)
        said = f"{name} was set aside as {old}."
    elif previous:
        # Its restart policy may have started it with the machine.
        commands += _stop(old, previous, stop_s)
        aside, record = previous, record if unfinished else Record(previous.id, ran=True)
        said = f"{name} is set aside as {old}."
    else:
        said = f"There is no {name} to set aside."
        return Plan([], None, None, Record(None, ran=False), finally_done=False, said=said)
    stopped = Seen(aside.id, "exited" if aside.alive else aside.status)
    return Plan(commands, None, stopped, record, finally_done=False, said=said)


def plan_back(name: str, now: Seen | None, previous: Seen | None, record: Record | None) -> Plan:
    """Undo `plan_aside`, wherever it or this was interrupted."""
    old = name + _SUFFIX
    commands = []
    said = f"{name} was not set aside."
    if previous:
        if now:
            commands.append(_remove(name))
        commands.append(["rename", old, name])
        if record is None or record.id != previous.id:
            record = Record(previous.id, ran=True)
        now = previous
        said = f"{name} is the container that it was before."
    elif now and record and record.id is None:
        commands.append(_remove(name))
        now = None
        said = f"There was no {name} before: the new one was removed."
    if now and record and record.id == now.id and record.ran and not now.alive:
        commands.append(["start", name])
        now = now._replace(status="running")
        said = f"{name} is the container that it was before, and was started."
    return Plan(commands, now, None, record, finally_done=True, said=said)


def plan_gone(name: str, now: Seen | None, previous: Seen | None) -> Plan:
    """Keep `name` and nothing else."""
    old = name + _SUFFIX
    commands = [_remove(old)] if previous else []
    said = f"{old} was removed." if previous else f"There is no {old}."
    return Plan(commands, now, None, None, finally_done=True, said=said)


def plan_absent(name: str, now: Seen | None, previous: Seen | None, stop_s: int) -> Plan:
    """Keep neither."""
    commands = [*_stop(name, now, stop_s), _remove(name)] if now else []
    commands += [_remove(name + _SUFFIX)] if previous else []
    said = f"{name} was removed." if commands else f"There is no {name}."
    return Plan(commands, None, None, None, finally_done=True, said=said)


def _remove(name: str) -> list[str]:
    # --volumes: the anonymous ones, which nothing could find afterwards; named ones stay.
    return ["rm", "--force", "--volumes", name]


def _stop(name: str, seen: Seen, stop_s: int) -> list[list[str]]:
    if not seen.alive:
        return []
    awake = [["unpause", name]] if seen.status == "paused" else []
    return [*awake, ["stop", "-t", str(stop_s), name]]


class Records:
    """The record of one container, a file in this user's state folder."""

    def __init__(self, state_dir: Path, container: str) -> None:
        self._path = state_dir / "aside" / (f"{container}.json")

    def read(self) -> Record | None:
        """Give what was written down; None for nothing, and for a file that is no record.

        A broken one is no error, because what is done without it is safe: NAME-previous comes back
        and is started.
        """
        try:
            with self._path.open("rb") as file:
                told = json.loads(file.read(_MAX_RECORD_BYTES))
            return Record(None if told["id"] is None else str(told["id"]), bool(told["ran"]))
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError):
            return None

    def write(self, record: Record) -> None:
        """Write it down for good, before anything is changed."""
        for folder in (self._path.parent.parent, self._path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(self._path, json.dumps(record._asdict()).encode())

    def forget(self) -> None:
        """Remove the file, and its folder if it was the last."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        with contextlib.suppress(OSError):
            self._path.parent.rmdir()


def seen(module: AnsibleModule, docker: Docker, name: str) -> dict[str, Any] | None:
    """Look for a container; one that cannot be set aside ends the module."""
    found = docker.container(name)
    if (
        found is not None
        and found["HostConfig"]["AutoRemove"]
        and module.params["state"] != "absent"
    ):
        module.fail_json(
            msg=f"{name} was made with --rm: Docker deletes it when it stops, so that it could not "
            f"come back. Stop it yourself (docker stop {name}) and run again."
        )
    return found


def ours(
    module: AnsibleModule, docker: Docker, record: Record | None
) -> tuple[Seen | None, Seen | None]:
    """Give the containers of both names; somebody else's ends the module, or counts as none."""
    name, service = module.params["container"], module.params["service"]
    now, previous = seen(module, docker, name), seen(module, docker, name + _SUFFIX)
    wrong = {
        each: strangers(each, found, service) if service else None
        for each, found in ((name, now), (name + _SUFFIX, previous))
        if not (record and found and record.id == found["Id"])
    }
    replaces = module.params["state"] in ("aside", "absent")
    of_now, of_previous = wrong.get(name), wrong.get(name + _SUFFIX)
    if of_now and replaces and not module.params["adopt"]:
        module.fail_json(msg=f"{of_now.said} {of_now.todo}")
    if of_previous and module.params["state"] == "aside":
        module.fail_json(
            msg=f"{of_previous.said} Its name is that of a container that is replaced: rename it."
        )
    return _seen(now), None if of_previous else _seen(previous)


def _seen(found: dict[str, Any] | None) -> Seen | None:
    return Seen(found["Id"], found["State"]["Status"]) if found else None


def stays_up(docker: Docker, name: str) -> bool:
    """Whether one that was just started runs a moment later, and was not started again."""
    first = docker.container(name)
    time.sleep(_SETTLES_S)
    then = docker.container(name)
    if not first or not then:
        return False
    starts = [found["State"]["StartedAt"] for found in (first, then)]
    return bool(then["State"]["Status"] == "running" and starts[0] == starts[1])


def shown(name: str, now: Seen | None, previous: Seen | None) -> dict[str, str]:
    """Tell how the containers of both names are."""
    return {
        name: now.status if now else "absent",
        name + _SUFFIX: previous.status if previous else "absent",
    }


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "state": {
                "type": "str",
                "choices": ["aside", "back", "gone", "absent"],
                "required": True,
            },
            "service": {"type": "str"},
            "adopt": {"type": "bool", "default": False},
            "state_dir": {"type": "path", "default": "~/.spark-speech"},
            "stop_timeout_s": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    name, stop_s = module.params["container"], module.params["stop_timeout_s"]
    # Both names have to be names that Docker takes.
    check_names(module, container=name)
    check_names(module, container=name + _SUFFIX)
    if not 0 <= stop_s <= _MAX_STOP_S:
        module.fail_json(msg=f"stop_timeout_s must be from 0 to {_MAX_STOP_S}, not {stop_s}.")

    docker = Docker(module)
    records = Records(Path(module.params["state_dir"]), name)
    try:
        record = records.read()
        now, previous = ours(module, docker, record)
        if module.params["state"] == "aside":
            plan = plan_aside(name, now, previous, record, stop_s)
        elif module.params["state"] == "back":
            plan = plan_back(name, now, previous, record)
        elif module.params["state"] == "gone":
            plan = plan_gone(name, now, previous)
        else:
            plan = plan_absent(name, now, previous, stop_s)
        said = plan.said
        if not module.check_mode:
            if plan.record not in (None, record):
                records.write(plan.record)
            for command in plan.commands:
                docker.run(command, timeout=stop_s + 120)
            if plan.finally_done:
                records.forget()
            if ["start", name] in plan.commands and not stays_up(docker, name):
                said += f" It does not stay up: `docker logs {name}` tells why."
    except OSError as error:
        module.fail_json(msg=words(error))
    after = shown(name, plan.now, plan.previous)
    module.exit_json(
        changed=bool(plan.commands),
        said=said,
        containers=after,
        diff={"before": shown(name, now, previous), "after": after},
    )


if __name__ == "__main__":
    main()

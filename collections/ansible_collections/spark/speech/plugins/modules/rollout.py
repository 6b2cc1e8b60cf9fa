#!/usr/bin/python
# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Record who rolled out which image, tell the one before, and remove images that nobody needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Record a rollout, tell the image before it, and remove images nobody needs
description:
  - Adds a line to C(STATE_DIR/SERVICE/rollouts.jsonl) when the image or its hash is another one
    than at the last rollout. It tells who did what, when, and which image was replaced.
  - Tells the current image and the last different one, which is what a rollback returns to.
  - With O(repo), removes the images of that name that are not needed. The current and the previous
    one stay, and each one that a container uses, be it running or stopped.
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  service:
    description: Whose rollout it is.
    type: str
    required: true
  image:
    description:
      - The image that runs now. Empty after the service was taken away.
      - Without it nothing is recorded, and what was recorded is told.
    type: str
  hash:
    description: The hash of what was rolled out; by default the id that Docker gave the image.
    type: str
    default: ''
  running:
    description:
      - The image that the container has, where only RV(previous) is asked for. A rollout that was
        killed has no record.
    type: str
  by:
    description: Who did it, for people. Becomes one line of at most 200 characters.
    type: str
    default: ''
  action:
    description: What was done, as in C(present), C(rollback) and C(absent). One line as well.
    type: str
    default: present
  repo:
    description: The name without a tag of the images to remove. Without it none is removed.
    type: str
  recorded_only:
    description: Remove images that were rolled out here alone. Others of O(repo) are not ours.
    type: bool
    default: false
  state_dir:
    description: Where this collection keeps what it knows of the host. Made with mode 0700.
    type: path
    default: ~/.spark-speech
attributes:
  check_mode:
    description: Nothing is recorded or removed. It tells what would be.
    support: full
  diff_mode:
    description: The current image and the images of O(repo), before and after.
    support: full
  idempotent:
    description: The same image and hash are recorded once. The time is that of the first record.
    support: full
"""

EXAMPLES = r"""
- name: Keep | Ensure the rollout is recorded and old images are gone
  spark.speech.rollout:
    service: whisperx
    image: spark-speech/whisperx:4f53cda18c2b
    hash: 4f53cda18c2b
    by: "{{ lookup('ansible.builtin.env', 'USER') }}"
    repo: spark-speech/whisperx

- name: Rollback | Ensure the previous image is known
  spark.speech.rollout:
    service: whisperx
  register: rollout
"""

RETURN = r"""
current:
  description: The image of the last rollout, V(null) if there is none.
  returned: success
  type: str
  sample: spark-speech/whisperx:4f53cda18c2b
previous:
  description: The last image that is not RV(current), V(null) if there was none.
  returned: success
  type: str
  sample: spark-speech/whisperx:0a4d55a8d778
pruned:
  description: The images that were removed.
  returned: success
  type: list
  elements: str
  sample: [spark-speech/whisperx:9c56cc51b374]
path:
  description: The file with the records, one JSON object a line, the newest last.
  returned: success
  type: str
  sample: /home/spark/.spark-speech/whisperx/rollouts.jsonl
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import Docker, check_names

Record = Dict[str, Any]
_WORDS = 200


def one_line(text: str) -> str:
    """Make it one line of bounded length, without characters that a terminal would obey."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())[:_WORDS]


def read(text: str) -> list[Record]:
    """Read the records; a line that is none, as a full disk leaves one, is passed over."""
    records = []
    for line in text.splitlines():
        record = parsed(line)
        if isinstance(record, dict) and isinstance(record.get("image"), str):
            records.append(record)
    return records


def parsed(line: str) -> object:
    """Read a line of JSON; None if it is none."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def current_of(records: list[Record]) -> Record:
    """Return the last rollout, or one of no image."""
    return records[-1] if records else {"image": "", "hash": ""}


def previous_of(records: list[Record], running: str | None = None) -> str | None:
    """Return the last image that is another one than what runs, None if there was none."""
    current = running or current_of(records)["image"]
    others = (record["image"] for record in reversed(records))
    return next((image for image in others if image not in ("", current)), None)


@contextmanager
def locked(path: Path, write: bool) -> Iterator[int | None]:
    """Open the records for us alone; None where there are none and none are to be written."""
    if write:
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    elif path.exists():
        flags = os.O_RDONLY
    else:
        yield None
        return
    file = os.open(path, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
        yield file
    finally:
        os.close(file)


def append(file: int, before: str, record: Record) -> None:
    """Add the record as a line of its own, also after a line that was cut off."""
    line = json.dumps(record) + "\n"
    if before and not before.endswith("\n"):
        line = "\n" + line
    os.write(file, line.encode())
    os.fsync(file)


def record_rollout(
    options: dict[str, Any], path: Path, check_mode: bool
) -> tuple[list[Record], bool]:
    """Record the rollout if it is one: all records there are then, and whether it is new."""
    wanted = options["image"] is not None
    # Of what was never here it is not written down that it is gone.
    write = wanted and not check_mode and (bool(options["image"]) or path.exists())
    with locked(path, write=write) as file:
        text = path.read_text("utf-8", errors="replace") if file is not None else ""
        records = read(text)
        last = current_of(records)
        same = (last["image"], last.get("hash")) == (options["image"], options["hash"])
        if not wanted or same or not (records or options["image"]):
            return records, False
        record = {
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "by": one_line(options["by"]),
            "action": one_line(options["action"]),
            "image": options["image"],
            "hash": options["hash"],
        }
        record["previous"] = previous_of([*records, record])
        if file is not None and not check_mode:
            append(file, text, record)
    return [*records, record], True


def images_of(docker: Docker, repo: str) -> dict[str, str]:
    """Return the tagged images of a repository: name:tag to id."""
    arguments = ["image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", repo]
    pairs = (line.split() for line in docker.run(arguments).out.splitlines())
    return {name: image for name, image in pairs if not name.endswith(":<none>")}


def images_in_use(docker: Docker) -> set[str]:
    """Return the ids of the images of all containers, running or not."""
    containers = docker.run(["ps", "--all", "--quiet", "--no-trunc"]).out.split()
    found = (docker.container(container) for container in containers)
    return {container["Image"] for container in found if container}


def to_prune(docker: Docker, repo: str, keep: set[str], known: set[str] | None) -> list[str]:
    """Return the images of the repository that are neither kept, by name or id, nor in use.

    With `known` only those that it names.
    """
    images = images_of(docker, repo)
    needed = {images[name] for name in keep if name in images} | images_in_use(docker)
    return sorted(
        name
        for name, image in images.items()
        if image not in needed and (known is None or name in known)
    )


def run(module: AnsibleModule) -> dict[str, Any]:
    """Record, prune, and return what the module answers."""
    options = module.params
    path = Path(options["state_dir"], options["service"], "rollouts.jsonl")
    docker = Docker(module)
    if options["image"] and not options["hash"]:
        found = docker.image(options["image"])
        options["hash"] = found["Id"] if found else ""
    before = sorted(images_of(docker, options["repo"])) if options["repo"] else []
    records, changed = record_rollout(options, path, module.check_mode)
    current = current_of(records)["image"] or None
    previous = previous_of(records, options["running"])
    pruned: list[str] = []
    if options["repo"]:
        keep = {name for name in (current, previous) if name}
        known = {record["image"] for record in records} if options["recorded_only"] else None
        for image in to_prune(docker, options["repo"], keep, known):
            # Without force, so that Docker refuses what a container has begun to use meanwhile.
            if module.check_mode or docker.run(["image", "rm", image], check=False).rc == 0:
                pruned.append(image)
            else:
                module.warn(f"{image} could not be removed and stays.")

    was = current_of(records[:-1] if changed else records)["image"]
    after = [image for image in before if image not in pruned]
    return {
        "changed": changed or bool(pruned),
        "current": current,
        "previous": previous,
        "pruned": pruned,
        "path": str(path),
        "diff": {"before": state(was, before), "after": state(current, after)},
    }


def state(current: str | None, images: list[str]) -> str:
    """Write what runs and which images there are, for a diff."""
    return "".join([f"current: {current or 'none'}\n", *(f"image: {image}\n" for image in images)])


def main() -> None:
    """Run as Ansible calls it."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "image": {"type": "str"},
            "hash": {"type": "str", "default": ""},
            "by": {"type": "str", "default": ""},
            "action": {"type": "str", "default": "present"},
            "repo": {"type": "str"},
            "recorded_only": {"type": "bool", "default": False},
            "running": {"type": "str"},
            "state_dir": {"type": "path", "default": "~/.spark-speech"},
        },
        supports_check_mode=True,
    )
    options = module.params
    check_names(module, service=options["service"], image=options["image"] or None)
    check_names(module, image=options["repo"])
    try:
        answer = run(module)
    except OSError as error:
        module.fail_json(msg=f"The rollout of {options['service']} cannot be recorded: {error}")
    module.exit_json(**answer)


if __name__ == "__main__":
    main()

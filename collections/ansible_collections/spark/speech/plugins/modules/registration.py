#!/usr/bin/python
# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Tell control of a service, or that there is none of that name any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registration
short_description: Tell control of a service, or that it is gone
description:
  - Writes C(FOLDER/NAME.json), which the gateway reads, and beside it the service's key.
  - Each file is replaced in one step, the key first, so that the gateway never reads half.
  - What is there under another name for the same kind of service in the same container of the same
    host is removed, as names follow the order of an inventory.
  - Runs on the control host.
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  folder:
    description: The folder of registrations. Made with mode 0750 where it is missing.
    type: path
    required: true
  name:
    description:
      - What the service is called. Of several hosts that have it only one can be called so; another
        one's is called C(NAME-HOST).
      - Once registered, a service keeps the name that it has of these two.
    type: str
    required: true
  plain:
    description: Whether it may be called O(name) alone, where no other host's is.
    type: bool
    default: true
  state:
    description: Whether control knows the service.
    type: str
    choices: [present, absent]
    default: present
  service:
    description:
      - What control is told, but for C(name) and C(api_key_file). Empty values are left out.
      - Its C(kind), C(host) and C(container) tell which registration is this service's, whatever
        its name. With O(state=absent) nothing else of it counts, and what bears O(name) stays if it
        is another host's.
    type: dict
    default: {}
  has_key:
    description: Whether it asks for a key. Without, a key that was there is removed.
    type: bool
    default: false
  key:
    description: The key, for the file C(NAME.key). While none is given, an older one stays.
    type: str
    default: ''
attributes:
  check_mode:
    description: Nothing is written.
    support: full
  diff_mode:
    description: The file before and after. A key is never shown.
    support: full
  idempotent:
    description: What is as asked for is not written again.
    support: full
"""

EXAMPLES = r"""
- name: Register | Ensure control knows the service
  spark.speech.registration:
    folder: ~/.spark-speech/services.d
    name: llm
    service:
      kind: llm
      host: spark1
      api: openai
      base_url: http://192.168.1.20:8000
  delegate_to: localhost
"""

RETURN = r"""
name:
  description: What the service is called.
  returned: success
  type: str
  sample: llm
paths:
  description: The files that tell, or told, of the services.
  returned: success
  type: list
  elements: str
  sample: [/home/me/.spark-speech/services.d/llm.json]
"""

import contextlib
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import check_names
from ansible_collections.spark.speech.plugins.module_utils.whole_files import (
    forget_begun,
    put,
    words,
)

_IDENTITY = ("kind", "host", "container")
_PARENTS_MODE = 0o700
_FOLDER_MODE = 0o750
_FILE_MODE = 0o640
_LONGEST_NAME = 41


class File(NamedTuple):
    """A file as it is to be; without content it is to be gone."""

    path: Path
    content: bytes | None

    def is_there(self) -> bool:
        """Whether it is as it is to be already."""
        if self.content is None or not self.path.is_file():
            return self.content is None and not self.path.exists()
        mode = stat.S_IMODE(self.path.stat().st_mode)
        return mode == _FILE_MODE and self.path.read_bytes() == self.content

    def write(self) -> None:
        """Make it so."""
        if self.content is None:
            forget_begun(self.path)
            self.path.unlink(missing_ok=True)
        else:
            put(self.path, self.content, _FILE_MODE)


def text(content: bytes | None) -> str:
    """Write a file's content for a diff."""
    return (content or b"").decode("utf-8", errors="replace")


def called(params: dict[str, Any], there: dict[str, dict[str, Any]]) -> str:
    """Choose the service's name: the one that it has, or one that is free."""
    name, host = params["name"], params["service"].get("host")
    if not host:
        return str(name)
    with_host = re.sub(r"[^a-z0-9-]", "-", f"{name}-{host}".lower())[:_LONGEST_NAME]
    ours = same_service(params["service"], there)
    for each in (name, with_host):
        if each in ours:
            return str(each)
    is_free = there.get(name, {}).get("host", host) == host
    return str(name) if params["plain"] and is_free else with_host


def same_service(service: dict[str, Any], there: dict[str, dict[str, Any]]) -> list[str]:
    """Say under which names a service is known; one without a container by its kind and host."""
    identity = {part: service.get(part) for part in _IDENTITY if service.get(part)}
    known = {"kind", "host"} <= set(identity)
    return [each for each, told in there.items() if known and identity.items() <= told.items()]


def outdated(params: dict[str, Any], there: dict[str, dict[str, Any]], name: str) -> list[str]:
    """Say which other registrations are this service's, under a name that it had before."""
    # Without a container there may be several of a kind on a host.
    if not params["service"].get("container"):
        return []
    return [each for each in same_service(params["service"], there) if each != name]


def registered(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what is told of each service; what is no registration is nobody's."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(ValueError):
            told = json.loads(path.read_bytes())
            if isinstance(told, dict):
                found[path.stem] = told
    return found


def removed(folder: Path, name: str) -> list[File]:
    """Say that nothing is to be there of a service. Who is told of a key finds it until then."""
    return [File(folder / f"{name}.json", None), File(folder / f"{name}.key", None)]


def written(params: dict[str, Any], name: str) -> list[File]:
    """Say which files there are to be of a service, the key's before the one that tells of it."""
    folder, key_file = Path(params["folder"]), f"{name}.key"
    told = {part: value for part, value in params["service"].items() if value not in ("", None)}
    told["name"] = name
    if params["has_key"]:
        told["api_key_file"] = key_file
    text = json.dumps(told, indent=4, sort_keys=True) + "\n"
    service = File(folder / f"{name}.json", text.encode())
    key = File(folder / key_file, params["key"].encode() if params["has_key"] else None)
    if not params["has_key"]:
        return [service, key]
    return [key, service] if params["key"] else [service]


def wanted(params: dict[str, Any]) -> tuple[str, list[File]]:
    """Say what the service is called, and which files are to be there or gone, in order.

    Raises:
        OSError: a registration cannot be read.
    """
    folder = Path(params["folder"])
    there = registered(folder)
    name = called(params, there)
    others = [file for each in outdated(params, there, name) for file in removed(folder, each)]
    if params["state"] == "present":
        return name, [*others, *written(params, name)]
    host = params["service"].get("host")
    of_another = host and there.get(name, {}).get("host", host) != host
    return name, others if of_another else [*others, *removed(folder, name)]


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait for others who write in the folder: two hosts may want the same name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def run(params: dict[str, Any], *, dry: bool) -> dict[str, Any]:
    """Do what the parameters ask, and return what the module answers.

    Raises:
        OSError: the folder or a file of it cannot be read or written.
    """
    folder = Path(params["folder"])
    missing = params["state"] == "present" and not folder.is_dir()
    if missing and not dry:
        for parent in reversed(folder.parents):
            parent.mkdir(_PARENTS_MODE, exist_ok=True)
        folder.mkdir(_FOLDER_MODE, exist_ok=True)
    with alone(folder) if folder.is_dir() and not dry else contextlib.nullcontext():
        name, files = wanted(params)
        services = [file for file in files if file.path.suffix == ".json"]
        shown = [difference(file) for file in services if file.content or file.path.exists()]
        changed = [file for file in files if not file.is_there()]
        for file in changed if not dry else ():
            file.write()
    return {
        "changed": bool(changed) or missing,
        "name": name,
        "paths": [each["after_header"] for each in shown],
        "diff": shown,
    }


def difference(file: File) -> dict[str, str]:
    """Show a file as it is and as it is to be."""
    before = file.path.read_bytes() if file.path.is_file() else None
    return {
        "before_header": str(file.path),
        "after_header": str(file.path),
        "before": text(before),
        "after": text(file.content),
    }


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "plain": {"type": "bool", "default": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "service": {"type": "dict", "default": {}},
            "has_key": {"type": "bool", "default": False, "no_log": False},
            "key": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    check_names(module, service=module.params["name"])
    try:
        answer = run(module.params, dry=module.check_mode)
    except OSError as error:
        module.fail_json(msg=words(error))
        return
    module.exit_json(**answer)


if __name__ == "__main__":
    main()

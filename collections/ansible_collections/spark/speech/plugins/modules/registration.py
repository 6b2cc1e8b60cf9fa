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
    description: The service's name.
    type: str
    required: true
  state:
    description: Whether control knows the service.
    type: str
    choices: [present, absent]
    default: present
  service:
    description:
      - What control is told. Empty values are left out.
      - Its C(kind), C(host) and C(container) tell which other names it may have. With
        O(state=absent) nothing else of it counts, and what bears O(name) stays if it is another
        host's.
    type: dict
    default: {}
  key:
    description:
      - The service's key, for the file C(NAME.key). Where O(service) names that as C(api_key_file),
        a file that is there stays while no key is given.
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
      name: llm
      kind: llm
      api: openai
      base_url: http://192.168.1.20:8000
  delegate_to: localhost
"""

RETURN = r"""
paths:
  description: The files that tell, or told, of the services.
  returned: success
  type: list
  elements: str
  sample: [/home/me/.spark-speech/services.d/llm.json]
"""

import contextlib
import json
import stat
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import check_names
from ansible_collections.spark.speech.plugins.module_utils.whole_files import put, words

_IDENTITY = ("kind", "host", "container")
_PARENTS_MODE = 0o700
_FOLDER_MODE = 0o750
_FILE_MODE = 0o640


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
            self.path.unlink(missing_ok=True)
        else:
            put(self.path, self.content, _FILE_MODE)


def text(content: bytes | None) -> str:
    """Write a file's content for a diff."""
    return (content or b"").decode("utf-8", errors="replace")


def names(params: dict[str, Any]) -> list[str]:
    """Say which registrations are meant, the one that is named last.

    Raises:
        OSError: a registration cannot be read.
    """
    name, service = params["name"], params["service"]
    there = registered(Path(params["folder"]))
    identity = {part: service.get(part) for part in _IDENTITY}
    known = all(identity.values())
    same = [each for each, told in there.items() if known and identity.items() <= told.items()]
    host = service.get("host")
    of_another = host and there.get(name, {}).get("host", host) != host
    named = [] if params["state"] == "absent" and of_another else [name]
    return [*(each for each in same if each != name), *named]


def registered(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what is told of each service; what is no registration is nobody's."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(ValueError):
            told = json.loads(path.read_bytes())
            if isinstance(told, dict):
                found[path.stem] = told
    return found


def files(params: dict[str, Any], name: str) -> list[File]:
    """Say which files of a service there are to be, the key's before its own."""
    stem = Path(params["folder"], name)
    key, service = File(Path(f"{stem}.key"), None), File(Path(f"{stem}.json"), None)
    if params["state"] == "absent":
        return [key, service]
    if name != params["name"]:
        return [service, key]
    told = {name: value for name, value in params["service"].items() if value not in ("", None)}
    written = json.dumps(told, indent=4, sort_keys=True) + "\n"
    wanted = [service._replace(content=written.encode())]
    if params["key"] or "api_key_file" not in told:
        wanted.insert(0, key._replace(content=params["key"].encode() or None))
    return wanted


def run(params: dict[str, Any], *, dry: bool) -> dict[str, Any]:
    """Do what the parameters ask, and return what the module answers.

    Raises:
        OSError: the folder or a file of it cannot be read or written.
    """
    folder = Path(params["folder"])
    wanted = [file for name in names(params) for file in files(params, name)]
    missing = params["state"] == "present" and not folder.is_dir()
    services = [file for file in wanted if file.path.suffix == ".json"]
    shown = [difference(file) for file in services]
    changed = [file for file in wanted if not file.is_there()]
    if not dry:
        if missing:
            for parent in reversed(folder.parents):
                parent.mkdir(_PARENTS_MODE, exist_ok=True)
            folder.mkdir(_FOLDER_MODE)
        # Who is told of a key finds it; who is told of none any more may still read the old file.
        for file in changed if params["state"] == "present" else reversed(changed):
            file.write()
    return {
        "changed": bool(changed) or missing,
        "paths": [str(file.path) for file in services],
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
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "service": {"type": "dict", "default": {}},
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

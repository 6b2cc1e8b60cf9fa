#!/usr/bin/python
# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Keep a service's folder of secrets on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_secrets
short_description: Keep a service's folder of secrets on a host
description:
  - Makes the folder for this user alone, and in it, once, a key of the service's own.
  - Removes the files that are not named, which are secrets that are given no more.
  - The key is made on the host and returned, so use it with C(no_log=true).
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  path:
    description: The folder.
    type: path
    required: true
  key:
    description: Whether the service has a key of its own, in the file C(key).
    type: bool
    default: false
  keep:
    description: The names of the other files that are there or come there.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Nothing is written. A key that is not there yet is not made up.
    support: full
  diff_mode:
    description: The names of the files before and after.
    support: full
  idempotent:
    description: A key that is there stays as it is.
    support: full
"""

EXAMPLES = r"""
- name: Run | Ensure a place for secrets, and a key
  spark.speech.host_secrets:
    path: ~/.spark-speech/whisperx/secrets
    key: true
    keep: [hf_token]
  register: secrets
  no_log: true
"""

RETURN = r"""
key:
  description: The service's key, empty where it has none.
  returned: success
  type: str
"""

import re
import secrets
import stat
import string
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.whole_files import put

_KEY = "key"
_KEY_LENGTH = 43  # of 62 characters: 256 bits
_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def new_key() -> str:
    """Make up a key of letters and digits."""
    letters = string.ascii_letters + string.digits
    return "".join(secrets.choice(letters) for position in range(_KEY_LENGTH))


def names(folder: Path) -> list[str]:
    """Name what the folder holds."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def closed(path: Path, mode: int, *, dry: bool) -> bool:
    """Take rights away that others have; whether there were any."""
    if stat.S_IMODE(path.stat().st_mode) == mode:
        return False
    if not dry:
        path.chmod(mode)
    return True


def run(params: dict[str, Any], *, dry: bool) -> dict[str, Any]:
    """Do what the parameters ask, and return what the module answers.

    Raises:
        OSError: the folder or a file of it cannot be written.
    """
    folder, file = Path(params["path"]), Path(params["path"], _KEY)
    before = names(folder)
    wanted = {*params["keep"], *([_KEY] if params["key"] else [])}
    gone = [name for name in before if name not in wanted]
    changed = bool(gone)
    if folder.is_dir():
        changed |= closed(folder, _FOLDER_MODE, dry=dry)
    else:
        changed = True
        if not dry:
            folder.mkdir(_FOLDER_MODE, parents=True)
    for name in gone if not dry else []:
        (folder / name).unlink()
    key = file.read_text("ascii").strip() if params["key"] and _KEY in before else ""
    if key:
        changed |= closed(file, _FILE_MODE, dry=dry)
    elif params["key"]:
        changed = True
        if not dry:
            key = new_key()
            put(file, key.encode(), _FILE_MODE)
    after = [name for name in before if name in wanted]
    after = sorted({*after, *([_KEY] if params["key"] else [])})
    diff = {"before": "".join(f"{n}\n" for n in before), "after": "".join(f"{n}\n" for n in after)}
    return {"changed": changed, "key": key, "diff": diff}


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "key": {"type": "bool", "default": False, "no_log": False},
            "keep": {"type": "list", "elements": "str", "default": [], "no_log": False},
        },
        supports_check_mode=True,
    )
    for name in module.params["keep"]:
        if not _NAME.fullmatch(name) or name == _KEY:
            module.fail_json(msg=f"{name!r} is no name of a secret: write letters, digits, '_.-'.")
    try:
        answer = run(module.params, dry=module.check_mode)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
        return
    module.exit_json(**answer)


if __name__ == "__main__":
    main()

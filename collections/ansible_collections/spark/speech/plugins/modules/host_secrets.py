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
  - Of the secrets that are given there are sets, folders in that folder, so that a container that
    runs keeps those that it was started with. A set holds a copy of the key, too.
  - The key is made on the host and returned, so use it with C(no_log=true).
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  path:
    description: The folder.
    type: path
    required: true
  set:
    description: The name of the set, one for each content.
    type: str
    required: true
  key:
    description: Whether the service has a key of its own, in the file C(key).
    type: bool
    default: false
  keep:
    description: The names of the other files that are in the set or come there; others go.
    type: list
    elements: str
    default: []
  only:
    description: Remove all other sets.
    type: bool
    default: false
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
    set: 4f53cda18c2b
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
made:
  description: Whether the set was not there before.
  returned: success
  type: bool
"""

import re
import secrets
import shutil
import stat
import string
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.whole_files import put, words

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
    """Name the files in the folder and in its sets."""
    found = (path for path in folder.rglob("*") if not path.is_dir()) if folder.is_dir() else ()
    return sorted(str(path.relative_to(folder)) for path in found)


def close(folder: Path) -> bool:
    """Take the rights away that others have; whether there were any."""
    changed = False
    for path in (folder, *folder.rglob("*")):
        mode = _FOLDER_MODE if path.is_dir() else _FILE_MODE
        if stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
            changed = True
    return changed


def unwanted(folder: Path, params: dict[str, Any]) -> list[Path]:
    """Find the files and sets that are to go."""
    own = folder / params["set"]
    kept = {*params["keep"], *([_KEY] if params["key"] else [])}
    gone = [path for path in own.iterdir() if path.name not in kept] if own.is_dir() else []
    if not folder.is_dir():
        return gone
    for path in folder.iterdir():
        other_set = path.is_dir() and path != own and params["only"]
        if other_set or (not path.is_dir() and not (params["key"] and path.name == _KEY)):
            gone.append(path)
    return sorted(gone)


def known_key(folder: Path) -> str:
    """Read the key; empty where there is none."""
    try:
        return (folder / _KEY).read_text("ascii").strip()
    except FileNotFoundError:
        return ""


def run(params: dict[str, Any], *, dry: bool) -> dict[str, Any]:
    """Do what the parameters ask, and return what the module answers.

    Raises:
        OSError: the folder or a file of it cannot be written.
    """
    folder, own = Path(params["path"]), Path(params["path"], params["set"])
    before, gone, made = names(folder), unwanted(folder, params), not own.is_dir()
    key = known_key(folder) if params["key"] else ""
    files = [folder / _KEY, own / _KEY] if params["key"] else []
    lacking = [path for path in files if not path.is_file() or path.read_bytes() != key.encode()]
    changed = bool(gone or lacking or made)
    if dry:
        return {"changed": changed, "key": key, "made": made, "diff": _diff(before, before)}
    own.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
    for path in gone:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if params["key"] and not key:
        key, lacking = new_key(), files
    for path in lacking:
        put(path, key.encode(), _FILE_MODE)
    changed |= close(folder)
    return {"changed": changed, "key": key, "made": made, "diff": _diff(before, names(folder))}


def _diff(before: list[str], after: list[str]) -> dict[str, str]:
    return {"before": "".join(f"{n}\n" for n in before), "after": "".join(f"{n}\n" for n in after)}


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "set": {"type": "str", "required": True},
            "only": {"type": "bool", "default": False},
            "key": {"type": "bool", "default": False, "no_log": False},
            "keep": {"type": "list", "elements": "str", "default": [], "no_log": False},
        },
        supports_check_mode=True,
    )
    for name in (module.params["set"], *module.params["keep"]):
        if not _NAME.fullmatch(name) or name == _KEY:
            module.fail_json(msg=f"{name!r} is no name of a secret: write letters, digits, '_.-'.")
    try:
        answer = run(module.params, dry=module.check_mode)
    except OSError as error:
        module.fail_json(msg=words(error))
        return
    module.exit_json(**answer)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Patch files of a container that somebody else made, and take the patch back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_patch
short_description: Patch files of a container that somebody else made
description:
  - Edits and adds files inside a container, running or not, and takes all of it back - bytes, mode
    and owner.
  - A manifest on the host holds what was there, written before the first change. A copy of each
    file that is edited is kept beside it in the container as well.
  - The patch belongs to one container. One that was made anew has lost it and is pristine.
  - It does not restart the container. Do that where RV(container_changed) says so.
  - Docker refuses this for containers made with C(--read-only).
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  container:
    description: The name of the container.
    type: str
    required: true
  name:
    description:
      - The name of the patch, in the lines around what it inserts and in the names of the copies
        (C(main.py.pre-NAME)).
    type: str
    required: true
  state:
    description:
      - V(present) patches a pristine container, and completes or updates a patch of its own.
      - V(absent) takes the patch back. It needs O(files) only where the manifest was lost.
      - V(query) tells how it is.
    type: str
    choices: [present, absent, query]
    default: present
  files:
    description: The files of the patch. Each has one of C(content), C(src) and C(edit).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where it is in the container, from the root.
        type: str
        required: true
      content:
        description: The text of a file that is added.
        type: str
      src:
        description: A file on the host with the content of a file that is added.
        type: path
      mode:
        description: The mode of a file that is added. Quote it, or begin it with a zero.
        type: raw
        default: "0644"
      edit:
        description: A block of text that is inserted into a file that is there.
        type: dict
        suboptions:
          block:
            description: The lines.
            type: str
            required: true
          before:
            description:
              - A regular expression. They go before the first line that it matches.
              - Without it, or where no line matches, they go to the end of the file.
            type: str
      requires:
        description: What a file must hold before it is edited, or the container is refused.
        type: list
        elements: dict
        default: []
        suboptions:
          pattern:
            description: A regular expression. C(^) and C($) match at each line.
            type: str
            required: true
          reason:
            description: What people are told where it does not match.
            type: str
            required: true
  manifest_dir:
    description: The folder on the host for the manifest of this patch of this container.
    type: path
    required: true
  force:
    description: Overwrite files that somebody has edited since. Their edits are lost.
    type: bool
    default: false
attributes:
  check_mode:
    description: Nothing is changed. What would be is returned.
    support: full
  diff_mode:
    description: The text of each file before and after.
    support: full
  idempotent:
    description: It changes what is not yet as asked for, and nothing else.
    support: full
"""

EXAMPLES = r"""
- name: Patch | Ensure Parakeet serves speakers
  spark.speech.container_patch:
    container: parakeet
    name: sortformer
    manifest_dir: ~/.spark-speech/sortformer/parakeet
    files:
      - path: /opt/parakeet/app/diarizer.py
        src: ~/.spark-speech/sortformer/diarizer.py
      - path: /opt/parakeet/app/main.py
        requires:
          - pattern: ^app\s*=\s*FastAPI\(
            reason: It has no FastAPI object of the name `app`.
        edit:
          block: |
            from diarizer import mount
            mount(app)
  register: patch

- name: Unpatch | Ensure Parakeet is as it was
  spark.speech.container_patch:
    container: parakeet
    name: sortformer
    state: absent
    manifest_dir: ~/.spark-speech/sortformer/parakeet
"""

RETURN = r"""
state:
  description:
    - V(pristine), V(patched), V(partial) (interrupted, or of another version), V(drifted) (somebody
      else edited it) or V(missing) (no such container), as it is afterwards.
  returned: success
  type: str
  sample: patched
before:
  description: The state before.
  returned: success
  type: str
  sample: pristine
said:
  description: What was done or found, in a sentence.
  returned: success
  type: str
container_changed:
  description: Whether files in the container were changed, so that it has to be restarted.
  returned: success
  type: bool
manifest:
  description:
    - Of what container a manifest was found - V(none), V(current) (this one), or V(stale) (one of
      this name that is gone, and the patch with it).
  returned: success
  type: str
  sample: current
files:
  description: The hashes of each file as it was found, empty for one that is not there.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Where it is in the container.
      type: str
    current:
      description: As it was found.
      type: str
    upstream:
      description: Before the patch.
      type: str
    patched:
      description: With the patch.
      type: str
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.container_files import (
    MAX_FILE_BYTES,
    ContainerFileError,
)
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import Docker, check_names
from ansible_collections.spark.speech.plugins.module_utils.patch_manifest import (
    Folder,
    ManifestError,
)
from ansible_collections.spark.speech.plugins.module_utils.patch_plan import (
    Addition,
    Edit,
    Patch,
    Requirement,
)
from ansible_collections.spark.speech.plugins.module_utils.patch_work import RefusedError, Work
from ansible_collections.spark.speech.plugins.module_utils.whole_files import words

_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[^/\x00-\x1f\x7f]+)+")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
_MAX_MODE = 0o7777

_SPEC: dict[str, Any] = {
    "container": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "query"], "default": "present"},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "content": {"type": "str"},
            "src": {"type": "path"},
            "mode": {"type": "raw", "default": "0644"},
            "edit": {
                "type": "dict",
                "options": {
                    "block": {"type": "str", "required": True},
                    "before": {"type": "str"},
                },
            },
            "requires": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "pattern": {"type": "str", "required": True},
                    "reason": {"type": "str", "required": True},
                },
            },
        },
        "mutually_exclusive": [("content", "src", "edit")],
        "required_one_of": [("content", "src", "edit")],
    },
    "manifest_dir": {"type": "path", "required": True},
    "force": {"type": "bool", "default": False},
}


def read_patch(params: dict[str, Any]) -> Patch:
    """Check the parameters that say what the patch is.

    Raises:
        RefusedError: one cannot be used.
    """
    if not _NAME.fullmatch(params["name"]):
        raise RefusedError(
            f"{params['name']!r} is no name for a patch: write a small letter, then up to 40 small "
            "letters, digits or '-'."
        )
    paths = [item["path"] for item in params["files"]]
    if params["state"] == "present" and not paths:
        raise RefusedError("files must say what is patched.")
    for path in paths:
        if not _PATH.fullmatch(path) or paths.count(path) > 1:
            raise RefusedError(f"{path!r} must be a path from the root without '..', named once.")
    edits = tuple(_edit(item) for item in params["files"] if item["edit"])
    additions = tuple(_addition(item) for item in params["files"] if not item["edit"])
    return Patch(params["name"], additions, edits)


def _edit(item: dict[str, Any]) -> Edit:
    requires = tuple(Requirement(each["pattern"], each["reason"]) for each in item["requires"])
    before = item["edit"]["before"]
    for pattern in [before or "", *(requirement.pattern for requirement in requires)]:
        try:
            re.compile(pattern)
        except re.error as error:
            raise RefusedError(f"{pattern!r} is no regular expression: {error}.") from None
    return Edit(item["path"], item["edit"]["block"], before, requires)


def _addition(item: dict[str, Any]) -> Addition:
    try:
        mode = item["mode"] if isinstance(item["mode"], int) else int(str(item["mode"]), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= _MAX_MODE:
        raise RefusedError(f"mode {item['mode']!r} of {item['path']} is none like '0644'.")
    if item["src"] is None:
        content = item["content"].encode("utf-8")
    else:
        try:
            with Path(item["src"]).open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise RefusedError(f"src {item['src']} cannot be read: {error.strerror}.") from None
    if len(content) > MAX_FILE_BYTES:
        raise RefusedError(f"{item['path']} is longer than {MAX_FILE_BYTES} bytes.")
    return Addition(item["path"], content, mode)


class Outcome(NamedTuple):
    """What the module returns beside the files that it found."""

    state: str
    said: str
    changed: bool = False
    diff: list[dict[str, str]] | None = None


def present(work: Work, *, force: bool, dry: bool) -> Outcome:
    """Patch the container where it is not patched, or not wholly.

    Raises:
        RefusedError: it cannot be patched, or failed and was put back.
    """
    if work.misfit:
        raise RefusedError(f"{work.name} was not patched: {work.misfit}")
    _refuse_strangers(work, work.drifted + work.found.foreign, force=force)
    if work.state == "patched":
        recorded = work.recorded
        if not recorded and not dry:
            work.folder.write(work.record)
        return Outcome("patched", f"{work.name} was patched already.", not recorded)
    done = "was completed or brought up to date" if work.state == "partial" else "was patched"
    _refuse_paused(work)
    if not dry:
        work.put_patch()
    return Outcome("patched", f"{work.name} {done}.", True, work.diff(work.patched))


def absent(work: Work, *, force: bool, dry: bool) -> Outcome:
    """Take the patch back.

    Raises:
        RefusedError: somebody else wrote what would be overwritten, or it failed.
    """
    if work.found.orphaned:
        raise RefusedError(
            f"{work.found.orphaned[0]} in {work.name} holds a patch, and neither a manifest in "
            f"{work.folder.path} nor a copy beside it tells what it was. Make the container anew "
            "from its image."
        )
    _refuse_strangers(work, work.drifted, force=force)
    if work.state == "pristine":
        return forget(work.folder, "pristine", f"{work.name} is not patched.", dry=dry)
    _refuse_paused(work)
    if not dry:
        work.take_back()
    return Outcome("pristine", f"{work.name} is as before.", True, work.diff(work.pristine))


def forget(folder: Folder, state: str, said: str, *, dry: bool) -> Outcome:
    """Remove a manifest that tells of nothing any more."""
    there = folder.exists()
    if not dry:
        folder.remove()
    return Outcome(state, said, there)


def _refuse_paused(work: Work) -> None:
    if work.paused:
        raise RefusedError(f"{work.name} is paused: run `docker unpause {work.name}` first.")


def _refuse_strangers(work: Work, paths: list[str], *, force: bool) -> None:
    rows = [
        f"{row['path']} (found {row['current'] or 'nothing'}, before the patch "
        f"{row['upstream'] or 'nothing'}, with it {row['patched'] or 'nothing'})"
        for row in work.hashes()
        if row["path"] in paths
    ]
    if rows and not force:
        raise RefusedError(
            f"Somebody else wrote what this would overwrite in {work.name}: {'; '.join(rows)}. "
            "Save it and put the file back yourself, or run again with force "
            f"({work.patch.name}_force=true for the role), which discards it (--check --diff shows "
            "what)."
        )


def run(params: dict[str, Any], docker: Docker, *, dry: bool) -> dict[str, Any]:
    """Do what the parameters ask.

    Raises:
        RefusedError, ManifestError, ContainerFileError: with what to do about it.
    """
    name, state, force = params["container"], params["state"], params["force"]
    patch, folder = read_patch(params), Path(params["manifest_dir"])
    container = docker.container(name)
    if container is None:
        said = f"There is no container {name}."
        if state == "present":
            raise RefusedError(f"{said} Start the one that is to be patched first.")
        outcome, there = Outcome("missing", said), Folder(folder).exists()
        if state == "absent":
            outcome = forget(Folder(folder), "missing", said, dry=dry)
        return {
            "before": "missing",
            "manifest": "stale" if there else "none",
            "files": [],
            "container_changed": False,
            **_shown(outcome),
        }
    work = Work(docker, name, container, patch, folder)
    before, manifest, files = work.state, work.manifest, work.hashes()
    if state == "present":
        outcome = present(work, force=force, dry=dry)
    elif state == "absent":
        outcome = absent(work, force=force, dry=dry)
    else:
        outcome = Outcome(before, work.misfit or f"{name} is {before}.")
    return {
        "before": before,
        "manifest": manifest,
        "files": files,
        "container_changed": outcome.diff is not None,
        **_shown(outcome),
    }


def _shown(outcome: Outcome) -> dict[str, Any]:
    return {**outcome._asdict(), "diff": outcome.diff or []}


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(argument_spec=_SPEC, supports_check_mode=True)
    check_names(module, container=module.params["container"])
    try:
        result = run(module.params, Docker(module), dry=module.check_mode)
    except (RefusedError, ManifestError, ContainerFileError) as error:
        module.fail_json(msg=str(error))
        return
    except OSError as error:
        module.fail_json(msg=words(error))
        return
    module.exit_json(**result)


if __name__ == "__main__":
    main()

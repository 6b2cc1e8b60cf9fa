#!/usr/bin/python
# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Pull an image, with a login that is for this one pull."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_pull
short_description: Pull an image, with a login that is for this one pull
description:
  - An image that the host has is not pulled.
  - The login is in no argument of a command. For as long as the pull lasts it is in a folder that
    only this user can read, in memory where the host has C(/dev/shm). The user's own logins, which
    C(docker login) keeps, are neither read nor changed where one is given here.
  - The pull goes on to its end, and the login away, when the connection to the host ends.
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  image:
    description: The image, as C(docker pull) takes it.
    type: str
    required: true
  registry:
    description:
      - The registry that the login is for, as the image names it, such as C(nvcr.io).
      - Without it this user's own logins are used.
    type: str
  username:
    description: Who logs in.
    type: str
  password:
    description: The password or key.
    type: str
  todo:
    description: What a person does when the registry refuses the image. It ends the message.
    type: str
    default: Give a login that may pull it.
  timeout_s:
    description: Seconds that the pull may take.
    type: int
    default: 7200
attributes:
  check_mode:
    description: Nothing is pulled. It reports a change where the image is not there.
    support: full
  diff_mode:
    description: The image's name before and after.
    support: full
  idempotent:
    description: An image that is there is not pulled.
    support: full
"""

EXAMPLES = r"""
- name: Pull | Ensure the image is there
  spark.speech.image_pull:
    image: nvcr.io/nim/nvidia/magpie-tts-multilingual:latest
    registry: nvcr.io
    username: $oauthtoken
    password: "{{ lookup('ansible.builtin.file', '~/.config/spark-speech/ngc_key') }}"
    todo: Put a key that may pull it into ~/.config/spark-speech/ngc_key.
"""

RETURN = r""" # """

import base64
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import (
    Docker,
    Result,
    check_names,
    trouble,
)

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made there, with mode 0700
# What is said in the words of Docker's versions, and what to do; the empty one is the caller's.
_HINTS = (
    (r"no space left on device", "Make room: `docker system df` tells what takes it."),
    (r"unauthorized|authentication required|no basic auth|denied|\b40[13]\b", ""),
    (
        r"manifest unknown|not found",
        "Look whether the registry has an image of this name and tag.",
    ),
)


@contextmanager
def login(options: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the options by which docker logs in at the registry, for the command that has them.

    Written here and not by `docker login`, which would hand the key to the user's keyring where
    there is one.
    """
    if not options["registry"]:
        yield []
        return
    pair = f"{options['username']}:{options['password']}".encode()
    auths = {options["registry"]: {"auth": base64.b64encode(pair).decode()}}
    place = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="spark-speech-", dir=place) as folder:
        Path(folder, "config.json").write_text(json.dumps({"auths": auths}), "utf-8")
        yield ["--config", folder]


def failure(result: Result, options: dict[str, Any]) -> str:
    """Say why the pull failed, and what to do about it."""
    why = trouble(result)
    found = (todo for words, todo in _HINTS if re.search(words, why.said, re.IGNORECASE))
    todo = why.todo or next((todo or options["todo"] for todo in found), "")
    whom = f" as {options['username']}" if options["registry"] else ""
    return f"{options['image']} cannot be pulled{whom}: {why.said.rstrip('.')}. {todo}".strip()


def run(module: AnsibleModule) -> dict[str, Any]:
    """Pull the image unless it is there, and return what the module answers."""
    options = module.params
    docker = Docker(module)
    if docker.image(options["image"]):
        return {"changed": False}
    if not module.check_mode:
        with login(options) as arguments:
            pull = [*arguments, "pull", "--quiet", options["image"]]
            result = docker.run(pull, check=False, timeout=options["timeout_s"])
        if result.rc:
            module.fail_json(msg=failure(result, options))
    return {"changed": True, "diff": {"before": "", "after": f"image {options['image']}\n"}}


def main() -> None:
    """Run as Ansible calls it."""
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "registry": {"type": "str"},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "todo": {"type": "str", "default": "Give a login that may pull it."},
            "timeout_s": {"type": "int", "default": 7200},
        },
        required_together=[("registry", "username", "password")],
        supports_check_mode=True,
    )
    options = module.params
    check_names(module, image=options["image"])
    if options["registry"] and not options["password"]:
        module.fail_json(msg=f"The key for {options['registry']} is empty. {options['todo']}")
    try:
        answer = run(module)
    except OSError as error:
        module.fail_json(msg=f"{options['image']} cannot be pulled: {error}")
    module.exit_json(**answer)


if __name__ == "__main__":
    main()

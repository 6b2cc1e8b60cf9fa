# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""Docker by its command line: what this collection's modules ask of it, its errors in plain words.

The command line and not the SDK, because a host needs nothing but Docker itself, and because
Debian's docker.io builds with BuildKit only through it. Never a shell: every call is a list.

Runs on the host, with Python 3.8 or newer and its standard library.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import subprocess
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule

SERVICE = re.compile(r"[a-z][a-z0-9-]{0,40}")
CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
# registry:port/path/name:tag@digest: the parts are Docker's to judge; here, that it is no option.
IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_./:@-]{0,511}")

_NAMES = {
    "service": (SERVICE, "a small letter, then up to 40 small letters, digits or '-'"),
    "container": (CONTAINER, "a letter or digit, then up to 127 letters, digits, '_', '.' or '-'"),
    "image": (IMAGE, "it like registry:5000/name:tag, with a letter or digit at its beginning"),
}
LABEL = "spark.speech.service"
"""On each container that we make, with its service's name."""
_MORE_FOLDERS = "/usr/bin:/usr/local/bin:/snap/bin"
_NO_BINARY = 127
_TIMED_OUT = 124


class Result(NamedTuple):
    """How a command ended: its exit status and what it wrote."""

    rc: int
    out: str
    err: str


class Trouble(NamedTuple):
    """Why Docker did not do as it was told, and what a person does about it."""

    said: str
    todo: str


def name_problem(kind: str, value: str) -> str | None:
    """Say what is wrong with the name of a service, container or image; None for a good one."""
    pattern, words = _NAMES[kind]
    if pattern.fullmatch(value):
        return None
    a = "an" if kind == "image" else "a"
    return f"{value!r} is not the name of {a} {kind}: write {words}."


def check_names(module: AnsibleModule, **names: str | None) -> None:
    """Fail the module when `service=`, `container=` or `image=` is no such name; None passes."""
    for kind, value in names.items():
        problem = name_problem(kind, value) if value is not None else None
        if problem:
            module.fail_json(msg=problem)


def strangers(name: str, found: dict[str, Any] | None, service: str) -> Trouble | None:
    """Say that a container of this name is somebody else's; None for ours, and for none."""
    if found is None or (found["Config"]["Labels"] or {}).get(LABEL) == service:
        return None
    return Trouble(
        f"{name} (of {found['Config']['Image']}) was not made for {service} by this collection.",
        f"Rename it (docker rename) or choose another name for {service}'s container. With "
        "speech_adopt=true it is replaced or removed, with the volumes that have no name.",
    )


def trouble(result: Result) -> Trouble:
    """Put a failed command's end into words: no binary, no daemon, no permission, or its own."""
    said = result.err.strip() or result.out.strip() or f"exit status {result.rc}, and no word"
    if result.rc == _NO_BINARY:
        return Trouble(said, "Install Docker: https://docs.docker.com/engine/install/")
    low = said.lower()
    if "permission denied" in low and ("docker.sock" in low or "daemon" in low):
        return Trouble(
            "This user may not talk to the Docker daemon.",
            f"Add {_user()} to the docker group and log in again: "
            f"sudo usermod -aG docker {_user()}",
        )
    if "cannot connect to the docker daemon" in low or "error during connect" in low:
        return Trouble(
            "The Docker daemon does not answer. " + said.splitlines()[-1],
            "Start it: sudo systemctl start docker",
        )
    return Trouble(said, "")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name
        return str(os.getuid())


class Docker:
    """The host's Docker, asked on behalf of one AnsibleModule."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module

    def binary(self) -> str | None:
        """Where the docker command is, or None. The PATH of a login by SSH may be a short one."""
        return shutil.which("docker") or shutil.which("docker", path=_MORE_FOLDERS)

    def run(
        self,
        arguments: list[str],
        check: bool = True,
        stdin: str | None = None,
        timeout: float = 300,
    ) -> Result:
        """Run `docker ARGUMENTS...` and give back how it ended.

        With `check` a command that fails ends the module, in words that say what to do; without it
        the caller reads `rc` (127: there is no docker) and may ask `trouble` for those words. It is
        given up after `timeout` seconds (rc 124).
        """
        binary = self.binary()
        if binary is None:
            result = Result(
                _NO_BINARY, "", "There is no `docker` command in the PATH of this user."
            )
        else:
            result = _run([binary, *arguments], stdin, timeout)
        if check:
            self._require(result, arguments)
        return result

    def container(self, name: str) -> dict[str, Any] | None:
        """What `docker container inspect` tells of the container with this very name, or None."""
        found = self._inspect("container", name)
        # Docker also takes the beginning of an id for a name.
        if found is not None and name not in (found["Name"].lstrip("/"), found["Id"]):
            return None
        return found

    def image(self, ref: str) -> dict[str, Any] | None:
        """What `docker image inspect` tells of an image (name:tag or id), or None."""
        return self._inspect("image", ref)

    def _inspect(self, kind: str, name: str) -> dict[str, Any] | None:
        result = self.run([kind, "inspect", name], check=False)
        if result.rc != 0 and "no such" in result.err.lower():
            return None
        self._require(result, [kind, "inspect"])
        found: dict[str, Any] = json.loads(result.out)[0]
        return found

    def _require(self, result: Result, arguments: list[str]) -> None:
        if result.rc != 0:
            why = trouble(result)
            what = " ".join(arguments[:2])
            self._module.fail_json(
                msg=f"docker {what}: {why.said} {why.todo}".strip(), rc=result.rc
            )


def _run(command: list[str], stdin: str | None, timeout: float) -> Result:
    try:
        done = subprocess.run(
            command,
            input=stdin if stdin is not None else "",
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            # BuildKit, as image_build builds with it.
            env=dict(os.environ, LC_ALL="C.UTF-8", DOCKER_CLI_HINTS="false", DOCKER_BUILDKIT="1"),
        )
    except subprocess.TimeoutExpired:
        return Result(_TIMED_OUT, "", f"Docker gave no answer within {timeout:g} s.")
    except OSError as error:
        return Result(126, "", f"{command[0]} could not be run: {error}")
    return Result(done.returncode, done.stdout, done.stderr)

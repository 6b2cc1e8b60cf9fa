#!/usr/bin/python
# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Build an image in the background of a host and follow its log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build
short_description: Build an image in the background of a host and follow its log
description:
  - Starts C(docker build) with BuildKit as a process that goes on when the connection to the host
    ends, and shows what is new in its log each time it is asked, so that a build of an hour is no
    silent one and a run that was cut off finds its build again.
  - A build of the same tag that runs already is attached to. One that failed or was interrupted is
    started again, and BuildKit keeps the steps that were done.
  - The tag must tell the content, as M(spark.speech.build_context) does, because an image that
    has it is not built again.
  - To stop a build, use O(state=absent), or kill (C(kill -9)) the process whose number is in
    C(STATE_DIR/SERVICE/build/TAG.pid). Docker's client does not reliably heed milder signals
    when its context comes from a file.
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  service:
    description: Whose image it is. The build's log is in this folder of O(state_dir).
    type: str
    required: true
  tag:
    description: The image's name and tag. Required unless O(state=absent).
    type: str
  state:
    description:
      - V(started) has the image, or a build of it that runs.
      - V(followed) shows the new part of the log and fails if the build failed. Repeat it until
        RV(done).
      - V(absent) ends all builds of the service that run, and removes what builds were given
        (C(STATE_DIR/SERVICE/build/input)). Images and logs stay.
    type: str
    choices: [started, followed, absent]
    default: started
  context:
    description:
      - The tar with the build context, on the host. Required with O(state=started).
      - It may be removed when the build is done.
    type: path
  dockerfile:
    description: The Dockerfile, as the tar names it.
    type: str
    default: Dockerfile
  target:
    description: Which stage of the Dockerfile to build. The last one unless it is given.
    type: str
  arguments:
    description:
      - The build's arguments. Everybody who has the image can read them, so none may be secret.
    type: dict
    default: {}
  secrets:
    description:
      - Files on the host that the build may read and that do not stay in the image. The key is the
        secret's id in the Dockerfile, the value is the absolute path of the file, which has mode
        0600 or less. An empty value is left out.
      - The files may be removed when the build is done.
    type: dict
    default: {}
  network:
    description: The network of the build's steps. V(host) is for hosts whose bridge leads nowhere.
    type: str
    choices: [default, host, none]
    default: default
  wait_s:
    description: With O(state=followed), how many seconds to wait for the build's end.
    type: int
    default: 0
  timeout_s:
    description:
      - With O(state=followed), how many seconds the build may take since it was started. One that
        takes longer is ended. What it has built stays in Docker's build cache.
    type: int
    default: 7200
  offset:
    description:
      - How many bytes of the log are known already, as RV(offset) told. Without it the log is shown
        from where the last call ended.
    type: int
  state_dir:
    description: Where this collection keeps what it knows of the host. Made with mode 0700.
    type: path
    default: ~/.spark-speech
attributes:
  check_mode:
    description: Nothing is built. It reports a change where the image is not there.
    support: full
  diff_mode:
    description: The image's name before and after.
    support: full
  idempotent:
    description: An image that is there is not built. A build that runs is not started again.
    support: full
"""

EXAMPLES = r"""
- name: Build | Ensure the build has begun
  spark.speech.image_build:
    service: whisperx
    tag: spark-speech/whisperx:4f53cda18c2b
    context: /tmp/whisperx.tar
    dockerfile: images/whisperx/Dockerfile
    target: cuda
    secrets:
      pip_conf: /home/spark/.spark-speech/whisperx/secrets/pip.conf

- name: Build | Ensure the build is done
  spark.speech.image_build:
    service: whisperx
    tag: spark-speech/whisperx:4f53cda18c2b
    state: followed
    wait_s: 5
  register: build
  until: build.done | default(true)
  retries: 720
  delay: 0
"""

RETURN = r"""
done:
  description: Whether the image is there, or the build failed.
  returned: always
  type: bool
  sample: true
rc:
  description: The build's exit status, V(null) where none was left.
  returned: with O(state=followed) when RV(done)
  type: int
  sample: 0
stdout:
  description: The new part of the log, at most the last 20 kB of it.
  returned: with O(state=followed)
  type: str
  sample: "#7 [cpu 3/9] RUN pip install -r requirements.txt"
offset:
  description: How many bytes of the log are known now.
  returned: with O(state=followed)
  type: int
  sample: 20480
log_path:
  description: The file on the host with all of the log.
  returned: success, unless O(state=absent)
  type: str
  sample: /home/spark/.spark-speech/whisperx/build/4f53cda18c2b.log
"""

import os
import re
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.detached import Detached
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import Docker, check_names

_SHOWN_BYTES = 20_000
_TAIL_LINES = 60
_KEPT_BUILDS = 5
_LOOKS_EVERY_S = 0.2
_ROOM_TO_TELL = 2**20  # less is left where not even the exit status could be written
_SIGNALS = 128  # an exit status above it is that of a signal
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# To the last @ before a slash: a password may hold others.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+(?=@)")


class Hint(NamedTuple):
    """What a log says, as a regular expression, and what to do about it."""

    pattern: str
    todo: str


# The first that is found is told: a full disk or too little memory makes many an error after it,
# and a registry's fault is told in a network's words.
_HINTS = (
    Hint(
        r"no space left on device",
        "The disk is full. `docker system df` tells what takes it, and `docker builder prune` "
        "removes old build steps.",
    ),
    Hint(
        r"exit code: 137|signal: killed|out of memory|cannot allocate memory|^Killed$",
        "The system ended a step, most likely for want of memory. Stop what else runs here.",
    ),
    Hint(
        r"buildx component is missing",
        "This Docker builds with its buildx plugin only. Install docker-buildx-plugin "
        "(docker-buildx in Debian and Ubuntu).",
    ),
    Hint(
        r"x509:|certificate.verify.failed|certificate verification failed"
        r"|unable to get local issuer|self.signed certificate",
        "A server's certificate is not trusted. If a proxy of yours opens TLS connections, give "
        "its certificates as ca_bundle.",
    ),
    Hint(
        r"pull access denied|manifest unknown|failed to resolve source metadata"
        r"|repository does not exist|failed to do request: Head|manifests/.*(denied|unauthorized)",
        "The base image cannot be had. Give one that the host has or can pull as base_image, or "
        "bring it there with `docker save` and `docker load`.",
    ),
    Hint(
        r"temporary failure in name resolution|temporary failure resolving|could not resolve"
        r"|failed to establish a new connection|network is unreachable|connection timed out"
        r"|connection refused|no route to host|i/o timeout|no such host|read timed out",
        "The network was not there for a step. If the host reaches packages through a mirror, "
        "give it as pip_conf and apt_sources; if only the host itself reaches them, set "
        "build_network to host; without any network, give a wheelhouse.",
    ),
    Hint(
        r"no matching distribution found|has no installation candidate|unable to locate package",
        "A package cannot be had. If the host uses a mirror or a wheelhouse (pip_conf, "
        "apt_sources, wheelhouse), look whether it has this version for this architecture.",
    ),
)


class BuildError(Exception):
    """A build that cannot be started; the message says why and what to do."""


def hint(log: str) -> str:
    """Say what to do about a log's error, or nothing."""
    found = (h.todo for h in _HINTS if re.search(h.pattern, log, re.IGNORECASE | re.MULTILINE))
    return next(found, "")


def readable(data: bytes) -> str:
    """Turn a part of the log into text, without terminal codes and without credentials in URLs."""
    text = _TERMINAL.sub("", data.decode("utf-8", errors="replace"))
    return _CREDENTIALS.sub("***", text)


class Part(NamedTuple):
    """What is new in a log, and the offset that it reaches to."""

    text: str
    offset: int


def new_part(log: Path, offset: int, ended: bool) -> Part:
    """Read what came after `offset`, in whole lines unless the log has ended.

    The beginning of a part that is too long is left out, so that what is shown keeps up with the
    build. A log that is shorter than `offset` is a new one.
    """
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return Part("", 0)
    if offset > size:
        offset = 0
    begin = max(offset, size - _SHOWN_BYTES)
    with log.open("rb") as file:
        file.seek(begin)
        data = file.read(size - begin)
    if not ended:
        data = data[: data.rfind(b"\n") + 1]
    end = begin + len(data)
    left_out = ""
    if begin > offset and data:
        data = data[data.find(b"\n") + 1 :] or data
        left_out = f"[{end - len(data) - offset} bytes are left out here, {log} has them]\n"
    return Part(left_out + readable(data), end if data else offset)


def tail(log: Path) -> str:
    """Return the last lines of the log."""
    part = new_part(log, 0, ended=True)
    return "\n".join(part.text.splitlines()[-_TAIL_LINES:])


def secret_option(name: str, path: str) -> str:
    """Return the option that hands a file to the build as a secret, which only we may read."""
    if not _SECRET.fullmatch(name):
        raise BuildError(f"{name!r} is not a secret's id: write letters, digits, '_', '.' and '-'.")
    file = Path(path)
    if set('",\n') & set(path):
        raise BuildError(f"The file of the secret {name} must have no quote, comma or line break.")
    if not file.is_file():
        raise BuildError(f"The file of the secret {name} does not exist: {file}")
    if file.stat().st_mode & 0o077:
        raise BuildError(f"Others may read the secret {name}. Run: chmod 600 {file}")
    return f"--secret=id={name},src={file}"


def build_command(binary: str, options: dict[str, Any]) -> list[str]:
    """Return the docker build command, which reads its context from its standard input."""
    command = [binary, "build", "--progress=plain", f"--tag={options['tag']}"]
    command.append(f"--file={options['dockerfile']}")
    if options["target"]:
        command.append(f"--target={options['target']}")
    if options["network"] != "default":
        command.append(f"--network={options['network']}")
    for name, value in sorted(options["arguments"].items()):
        if not _ARGUMENT.fullmatch(name) or "\0" in str(value):
            raise BuildError(
                f"{name!r} is not a build argument: write letters, digits and '_', and no digit "
                "at its beginning."
            )
        command.append(f"--build-arg={name}={value}")
    for name, path in sorted(options["secrets"].items()):
        if path:
            command.append(secret_option(name, path))
    return [*command, "-"]


def build_folder(options: dict[str, Any]) -> Path:
    """Return the folder of the service's builds, made for this user alone where it is missing."""
    folder = Path(options["state_dir"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    for part in ("", options["service"], "build"):
        folder /= part
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def forget_old_builds(folder: Path) -> None:
    """Remove the files of all builds that ended but the newest few."""
    logs = sorted(folder.glob("*.log"), key=lambda log: log.stat().st_mtime)
    for log in logs[:-_KEPT_BUILDS]:
        old = Detached(folder, log.name[: -len(".log")])
        if not old.running():
            old.forget()


def started(module: AnsibleModule, docker: Docker, name: str) -> dict[str, Any]:
    """Have the image, or a build of it that runs."""
    options = module.params
    log = Path(options["state_dir"], options["service"], "build", f"{name}.log")
    answer: dict[str, Any] = {"changed": False, "done": True, "log_path": str(log)}
    if docker.image(options["tag"]):
        return answer
    if module.check_mode:
        running = Detached(log.parent, name).running()
    else:
        context = Path(options["context"])
        if not context.is_file():
            raise BuildError(f"There is no build context at {context}.")
        command = build_command(docker.binary() or "docker", options)
        folder = build_folder(options)
        env = dict(os.environ, DOCKER_BUILDKIT="1", LC_ALL="C.UTF-8")
        running = not Detached(folder, name).start(command, context, env)
        if running:  # this caller has seen nothing of it yet
            Detached(folder, name).show(0)
        forget_old_builds(folder)
        answer["done"] = False
    answer["changed"] = not running
    if not running:
        answer["diff"] = {"before": "", "after": f"image {options['tag']}\n"}
    return answer


def followed(module: AnsibleModule, docker: Docker, name: str) -> dict[str, Any]:
    """Show what is new in the log, and whether the build is done or failed."""
    options = module.params
    job = Detached(Path(options["state_dir"], options["service"], "build"), name)
    deadline = time.monotonic() + options["wait_s"]
    while job.running() and time.monotonic() < deadline:
        time.sleep(_LOOKS_EVERY_S)
    overdue = job.running() and job.age_s() > options["timeout_s"]
    if overdue and not module.check_mode:
        job.stop()
    running = job.running()  # before the log is read, so that an ended build's is read to its end
    offset = job.shown() if options["offset"] is None else options["offset"]
    part = new_part(job.log, offset, ended=not running)
    if job.started() and not module.check_mode:
        job.show(part.offset)
    answer: dict[str, Any] = {
        "changed": False,
        "done": not running,
        "stdout": part.text,
        "offset": part.offset,
        "log_path": str(job.log),
    }
    if running:
        return answer
    if docker.image(options["tag"]) or module.check_mode:
        answer["rc"] = 0
    else:
        answer["rc"] = job.status()
        limit = options["timeout_s"] if overdue else None
        answer["msg"] = failure(job, options["tag"], answer["rc"], limit)
    return answer


def absent(module: AnsibleModule) -> dict[str, Any]:
    """End the service's builds, and remove what they were given."""
    options = module.params
    folder = Path(options["state_dir"], options["service"], "build")
    builds = {
        log.name[: -len(".log")]: Detached(folder, log.name[: -len(".log")])
        for log in folder.glob("*.log")
    }
    running = sorted(name for name, job in builds.items() if job.running())
    given = folder / "input"
    answer: dict[str, Any] = {"changed": bool(running) or given.exists(), "done": True}
    answer["diff"] = {"before": "".join(f"build {name}\n" for name in running), "after": ""}
    if not module.check_mode:
        for name in running:
            builds[name].stop()
        if given.exists():
            shutil.rmtree(given)
    return answer


def failure(job: Detached, tag: str, rc: int | None, limit_s: int | None) -> str:
    """Say how the build ended, what to do about it, and the end of its log."""
    if not job.started():
        return f"No build of {tag} was started on this host. Use state: started first."
    if limit_s is not None:
        said = (
            f"took longer than {limit_s} s and was ended. What it has built is kept: run this "
            "again to go on, and give it more time."
        )
    elif rc is None and shutil.disk_usage(job.log.parent).free < _ROOM_TO_TELL:
        said = f"was interrupted: the disk that {job.log.parent} is on is full. Make room there."
    elif rc is None:
        said = "was interrupted: its process ended without a word. Run this again to go on."
    elif rc == 0:
        said = "succeeded, but the image is not there: somebody removed it. Run this again."
    elif rc > _SIGNALS:
        said = f"was ended by signal {rc - _SIGNALS}. Run this again to go on."
    else:
        said = f"failed with exit status {rc}."
    last = tail(job.log)
    lines = [f"The build of {tag} {said}", hint(last), f"The last lines of {job.log}:", last]
    return "\n".join(filter(None, lines))


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what is asked for.

    Raises:
        BuildError, OSError: it cannot be done.
    """
    state, tag = module.params["state"], module.params["tag"]
    if state == "absent":
        return absent(module)
    name = tag.rpartition(":")[2]
    if name == tag or not _TAG.fullmatch(name):
        module.fail_json(msg=f"{tag} has no tag. Write it as name:tag.")
    do = started if state == "started" else followed
    return do(module, Docker(module), name)


def main() -> None:
    """Run as Ansible calls it."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "tag": {"type": "str"},
            "state": {
                "type": "str",
                "choices": ["started", "followed", "absent"],
                "default": "started",
            },
            "context": {"type": "path"},
            "dockerfile": {"type": "str", "default": "Dockerfile"},
            "target": {"type": "str"},
            "arguments": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": False},
            "network": {
                "type": "str",
                "choices": ["default", "host", "none"],
                "default": "default",
            },
            "wait_s": {"type": "int", "default": 0},
            "timeout_s": {"type": "int", "default": 7200},
            "offset": {"type": "int"},
            "state_dir": {"type": "path", "default": "~/.spark-speech"},
        },
        required_if=[("state", "started", ["tag", "context"]), ("state", "followed", ["tag"])],
        supports_check_mode=True,
    )
    options = module.params
    check_names(module, service=options["service"], image=options["tag"])
    try:
        answer = run(module)
    except (BuildError, OSError) as error:
        what = options["tag"] or options["service"]
        module.fail_json(msg=f"The build of {what} cannot be done: {error}", done=True)
    if "msg" in answer:
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Look whether a host can run a container, and name everything that is missing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_preflight
short_description: Look whether a host can run a container, and name everything that is missing
description:
  - Asks before anything is changed whether Docker answers this user, whether disk and memory are
    enough, whether the port is free or ours, and whether containers get the GPU.
  - Fails with all problems in one message, each with what to do about it.
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  service:
    description: Whom this is for. It is named in the message.
    type: str
    required: true
  container:
    description: The container that is to run. A port that it publishes already is not taken.
    type: str
    required: true
  image:
    description: The image it is to run. Where the host has it, O(disk_bytes) is not asked for.
    type: str
  port:
    description: The TCP port that is to be published on the host. Without it none is looked at.
    type: int
  bind_address:
    description: The address of the host that the port is published on.
    type: str
    default: 0.0.0.0
  adopt:
    description:
      - Take a container of the name O(container) for O(service)'s also where somebody else made it.
    type: bool
    default: false
  state_dir:
    description: Where this collection keeps what it knows of the host.
    type: path
    default: ~/.spark-speech
  disk_bytes:
    description: What must be free where Docker keeps its images.
    type: int
    default: 0
  memory_bytes:
    description:
      - What must be available of the host's memory, which on a GB10 is the GPU's as well.
      - Not asked for while O(container) runs, as its memory will be given back before the new one
        starts, and how much of it lies on a GPU cannot be told.
    type: int
    default: 0
  gpu:
    description:
      - V(true) demands that containers can use an NVIDIA GPU. V(auto) looks and tells in RV(facts).
    type: str
    choices: [auto, 'true', 'false']
    default: auto
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: It never changes anything.
    support: full
"""

EXAMPLES = r"""
- name: Preflight | Ensure Docker, room, the port and the GPU
  spark.speech.docker_preflight:
    service: whisperx
    container: whisperx-asr
    port: 8002
    bind_address: 192.168.1.20
    disk_bytes: 20000000000
    memory_bytes: 12000000000
    gpu: auto
  register: host
"""

RETURN = r"""
problems:
  description: What is missing. Empty where the module succeeds.
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: >-
          One of V(docker), V(container), V(python), V(disk), V(memory), V(address), V(port) and
          V(gpu).
      type: str
    said:
      description: What was found.
      type: str
    todo:
      description: What to do about it.
      type: str
  sample: []
facts:
  description: What was found. What could not be found is V(null).
  returned: always
  type: dict
  contains:
    docker_version:
      description: The engine's version.
      type: str
    root_dir:
      description: Where Docker keeps its images.
      type: str
    free_bytes:
      description: What is free there.
      type: int
    available_bytes:
      description: The host's available memory.
      type: int
    has_gpu:
      description: Whether containers can use an NVIDIA GPU.
      type: bool
    owner_of_port:
      description: Who listens on the port, a container or a process.
      type: str
    image:
      description: The image that O(container) was made from, empty where there is none.
      type: str
    images:
      description: The images of the host that have a name, as name:tag.
      type: list
      elements: str
    no_build:
      description:
        - Why images cannot be built here, and what to do about it; empty where they can. It is no
          problem for a host that has the image.
      type: str
    runs:
      description: Whether O(container) runs.
      type: bool
    is_aside:
      description: Whether M(spark.speech.container_aside) was begun for O(container) and not ended.
      type: bool
    has_input:
      description: Whether a run that was killed left what it had given to a build of O(service).
      type: bool
"""

import importlib.util
import ipaddress
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any, Dict, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import (
    Docker,
    Result,
    check_names,
    strangers,
    trouble,
)

Problem = Dict[str, str]
_FACTS = (
    "docker_version",
    "root_dir",
    "free_bytes",
    "available_bytes",
    "has_gpu",
    "owner_of_port",
    "image",
    "images",
    "no_build",
    "runs",
    "is_aside",
    "has_input",
)
_LISTEN = "0A"
_LAST_PORT = 65535
_GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))  # Linux's driver, and WSL's
_CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")


def problem(check: str, said: str, todo: str) -> Problem:
    """Return what is missing, as RETURN describes it."""
    return {"check": check, "said": said, "todo": todo}


def size(number: int) -> str:
    """Write a number of bytes for people."""
    return f"{number / 1e9:.1f} GB"


def parse_info(result: Result) -> tuple[dict[str, Any] | None, Problem | None]:
    """Read `docker info` in JSON: an engine that does not answer may be told with status 0."""
    if result.rc == 0:
        info: dict[str, Any] = json.loads(result.out)
        errors = info.get("ServerErrors")
        if not errors:
            return info, None
        result = Result(1, "", "\n".join(errors))
    why = trouble(result)
    return None, problem("docker", why.said, why.todo or "Make `docker info` work for this user.")


def free_bytes(folder: str) -> int | None:
    """Return what is free where the folder is; None where that is not on this machine."""
    try:
        status = os.statvfs(folder)
    except FileNotFoundError:
        return None
    except PermissionError:  # the folder above has the answer unless a disk is mounted below it
        return free_bytes(str(Path(folder).parent))
    return status.f_bavail * status.f_frsize


def available_bytes(meminfo: str) -> int | None:
    """Return MemAvailable of /proc/meminfo, in bytes."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def has_gpu(info: dict[str, Any]) -> bool:
    """Tell whether Docker can hand on an NVIDIA GPU, by its runtime or by CDI, and there is one."""
    runtime = "nvidia" in (info.get("Runtimes") or {})
    folders = info.get("CDISpecDirs") or _CDI_FOLDERS
    cdi = any("nvidia" in path.name for folder in folders for path in files_of(folder))
    return (runtime or cdi) and any(device.exists() for device in _GPU_DEVICES)


def files_of(folder: str) -> list[Path]:
    """List a folder; one that is missing or not ours to read has nothing."""
    try:
        return list(Path(folder).iterdir())
    except OSError:
        return []


class Listener(NamedTuple):
    """Who listens: on which address and port, and a socket's inode or a container's name."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    owner: str


def listeners(table: str) -> list[Listener]:
    """Read /proc/net/tcp or tcp6: addresses are 32-bit words in the machine's byte order."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN:
            host, port = fields[1].split(":")
            words = [bytes.fromhex(host[i : i + 8]) for i in range(0, len(host), 8)]
            if sys.byteorder == "little":
                words = [word[::-1] for word in words]
            found.append(Listener(ipaddress.ip_address(b"".join(words)), int(port, 16), fields[9]))
    return found


def listeners_here() -> list[Listener]:
    """Return all TCP sockets that listen on this host, whoever's they are."""
    return listeners(text_of(Path("/proc/net/tcp"))) + listeners(text_of(Path("/proc/net/tcp6")))


def in_the_way(bind_address: str, port: int, listening: list[Listener]) -> Listener | None:
    """Return who keeps us from listening there: on this address, or either of the two on all."""
    wanted = ipaddress.ip_address(bind_address)
    for listener in listening:
        same_family = listener.address.version == wanted.version
        # A socket on :: takes IPv4 as well, as most are made so.
        over_both = isinstance(listener.address, ipaddress.IPv6Address) or same_family
        everywhere = listener.address.is_unspecified and over_both
        met = same_family and (wanted.is_unspecified or listener.address == wanted)
        if listener.port == port and (everywhere or met):
            return listener
    return None


def process_of(inode: str) -> str:
    """Name the process that holds a socket; of another user's processes only that it is one."""
    for process in Path("/proc").glob("[0-9]*"):
        if any(points_to(handle, f"socket:[{inode}]") for handle in files_of(f"{process}/fd")):
            command = text_of(process / "comm").strip() or "ended just now"
            return f"process {process.name} ({command})"
    return "a process of another user"


def text_of(path: Path) -> str:
    """Read a file; one that is gone or not ours to read is empty."""
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def points_to(handle: Path, target: str) -> bool:
    """Tell where a link of /proc points; nowhere if its process has ended or is not ours."""
    try:
        return os.readlink(handle) == target
    except OSError:
        return False


def address_problem(address: str) -> Problem | None:
    """Say what is wrong with the address to publish on: no address, or not one of this host."""
    todo = "Give an address of this host (`ip address` lists them), or 0.0.0.0 for all of them."
    try:
        is_v6 = isinstance(ipaddress.ip_address(address), ipaddress.IPv6Address)
    except ValueError:
        return problem("address", f"{address!r} is not an IP address.", todo)
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))  # any free port: only the address is asked for
    except OSError as error:
        return problem("address", f"{address} cannot be used here: {error.strerror}.", todo)
    return None


class Preflight:
    """The checks, one after the other; what they find is in `problems` and `facts`."""

    def __init__(self, module: AnsibleModule) -> None:
        self.options = module.params
        self.docker = Docker(module)
        self.problems: list[Problem] = []
        self.facts: dict[str, Any] = dict.fromkeys(_FACTS)

    def run(self) -> None:
        """Look at everything, also after a problem, so that they are all told at once."""
        arguments = ["info", "--format", "{{json .}}"]
        info, unwell = parse_info(self.docker.run(arguments, check=False, timeout=60))
        running = False
        if info is None:
            self.add(unwell)
        else:
            container = self.docker.container(self.options["container"])
            running = bool(container and container["State"]["Running"])
            self.facts["runs"] = running
            self.facts["image"] = container["Config"]["Image"] if container else ""
            self.facts["is_aside"] = self.is_aside()
            given = Path(self.options["state_dir"], self.options["service"], "build/input")
            self.facts["has_input"] = given.exists()
            self.owner(container)
            listed = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
            self.facts["images"] = self.docker.run(listed).out.split()
            self.facts["no_build"] = self.no_build()
            self.facts["docker_version"] = info.get("ServerVersion")
            self.disk(info["DockerRootDir"])
            self.gpu(info)
        self.python()
        self.memory(running)
        if self.options["port"] is not None:
            self.port(docker_answers=info is not None)

    def is_aside(self) -> bool:
        """Whether another container of ours or a record tells of one that was replaced."""
        name, service = self.options["container"], self.options["service"]
        record = Path(self.options["state_dir"], "aside", f"{name}.json")
        previous = self.docker.container(f"{name}-previous")
        return record.exists() or (
            previous is not None and strangers(name, previous, service) is None
        )

    def no_build(self) -> str:
        """Why Docker cannot build with BuildKit: from version 23 on its command needs a plugin.

        Docker's command looks for that before it writes its help, which is all that is asked for.
        """
        asked = self.docker.run(["build", "--help"], check=False, timeout=60)
        if asked.rc == 0:
            return ""
        if "buildx" not in asked.err:
            return " ".join(trouble(asked)).strip()
        return (
            "Docker builds images with its buildx plugin, which is missing or broken here. Install "
            "docker-buildx-plugin (docker-buildx in Debian and Ubuntu)."
        )

    def owner(self, container: dict[str, Any] | None) -> None:
        """Whether the container is the service's, unless any will do."""
        options = self.options
        found = strangers(options["container"], container, options["service"])
        if found and not options["adopt"]:
            self.add(problem("container", *found))

    def python(self) -> None:
        """What community.docker's modules need of this host's Python."""
        if importlib.util.find_spec("requests") is None:
            self.add(
                problem(
                    "python",
                    f"{sys.executable} has no requests, by which containers are managed.",
                    "Install it: sudo apt install python3-requests",
                )
            )

    def add(self, found: Problem | None) -> None:
        """Keep a problem, if it is one."""
        if found:
            self.problems.append(found)

    def disk(self, root_dir: str) -> None:
        """Enough room where Docker keeps images, unless there is nothing to be added to them."""
        free, needed = free_bytes(root_dir), self.options["disk_bytes"]
        self.facts.update(root_dir=root_dir, free_bytes=free)
        there = self.options["image"] and self.docker.image(self.options["image"])
        if not there and free is not None and free < needed:
            self.add(
                problem(
                    "disk",
                    f"{size(free)} are free in {root_dir}, and {size(needed)} are needed.",
                    "Make room (`docker system df` tells what takes it, `docker builder prune` "
                    "removes old build steps) or move Docker's data-root to a larger disk.",
                )
            )

    def memory(self, running: bool) -> None:
        """Enough memory for a start."""
        available = available_bytes(text_of(Path("/proc/meminfo")))
        needed = self.options["memory_bytes"]
        self.facts["available_bytes"] = available
        if not running and available is not None and available < needed:
            self.add(
                problem(
                    "memory",
                    f"{size(available)} of memory are available, and {size(needed)} are needed.",
                    "Stop what else runs on this host (`docker stats`, `free -h`), or choose a "
                    "smaller model.",
                )
            )

    def gpu(self, info: dict[str, Any]) -> None:
        """A GPU for containers, where one is demanded."""
        self.facts["has_gpu"] = has_gpu(info)
        if self.options["gpu"] == "true" and not self.facts["has_gpu"]:
            self.add(
                problem(
                    "gpu",
                    "Containers on this host cannot use an NVIDIA GPU.",
                    "Make `nvidia-smi` show the GPU, install nvidia-container-toolkit, then: "
                    "sudo nvidia-ctk runtime configure --runtime=docker && "
                    "sudo systemctl restart docker",
                )
            )

    def port(self, docker_answers: bool) -> None:
        """An address that is the host's, and a port on it that is free or our container's."""
        address, port = self.options["bind_address"], self.options["port"]
        wrong = address_problem(address)
        if wrong:
            self.add(wrong)
            return
        ours = self.options["container"]
        containers = self.publishers(port) if docker_answers else []
        strangers = [listener for listener in containers if listener.owner != ours]
        in_way = in_the_way(address, port, strangers)
        owner: str | None
        if in_way:
            owner = f"container {in_way.owner}"
        elif len(strangers) < len(containers):
            owner = f"container {ours}"
        else:
            in_way = in_the_way(address, port, listeners_here())
            owner = process_of(in_way.owner) if in_way else None
        self.facts["owner_of_port"] = owner
        if in_way:
            self.add(
                problem(
                    "port",
                    f"Port {port} of {address} is taken by {owner}.",
                    f"Stop it, or choose another port for {self.options['service']}.",
                )
            )

    def publishers(self, port: int) -> list[Listener]:
        """Return where running containers publish the port."""
        names = self.docker.run(
            ["ps", "--filter", f"publish={port}/tcp", "--format", "{{.Names}}"]
        ).out.split()
        found = []
        for name in names:
            container = self.docker.container(name)
            ports = container["NetworkSettings"]["Ports"] if container else {}
            for binding in (each for bindings in ports.values() for each in bindings or []):
                address = ipaddress.ip_address(binding["HostIp"] or "::")
                found.append(Listener(address, int(binding["HostPort"]), name))
        return found


def main() -> None:
    """Run as Ansible calls it."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "container": {"type": "str", "required": True},
            "image": {"type": "str"},
            "port": {"type": "int"},
            "bind_address": {"type": "str", "default": "0.0.0.0"},  # noqa: S104 as Docker's own is
            "adopt": {"type": "bool", "default": False},
            "state_dir": {"type": "path", "default": "~/.spark-speech"},
            "disk_bytes": {"type": "int", "default": 0},
            "memory_bytes": {"type": "int", "default": 0},
            "gpu": {"type": "str", "choices": ["auto", "true", "false"], "default": "auto"},
        },
        supports_check_mode=True,
    )
    options = module.params
    check_names(
        module,
        service=options["service"],
        container=options["container"],
        image=options["image"],
    )
    if options["port"] is not None and not 1 <= options["port"] <= _LAST_PORT:
        module.fail_json(
            msg=f"{options['port']} is not a port: write a number from 1 to {_LAST_PORT}."
        )
    preflight = Preflight(module)
    preflight.run()
    answer = {"changed": False, "problems": preflight.problems, "facts": preflight.facts}
    if preflight.problems:
        told = [f"- {found['said']} {found['todo']}" for found in preflight.problems]
        first = f"This host cannot run {options['service']} yet:"
        module.fail_json(msg="\n".join([first, *told]), **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()

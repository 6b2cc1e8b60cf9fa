"""How a service stands on its host, for when it does not answer: its container, or its process.

By SSH of our own, with the inventory's address, user, key and options: a playbook, or an ad-hoc
command of Ansible's, needs seconds of processor time for a question that takes milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
import subprocess
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any
from xmlrpc.client import Error

import gevent

from proxy_app.hosts import ssh
from proxy_app.jobs.desk import Room
from proxy_app.jobs.forms import FormError
from proxy_app.jobs.project import ProjectError
from proxy_app.services import Service
from proxy_app.supervision import ENGINE, supervisor

log = logging.getLogger(__name__)

_WITHIN_S = 15.0
_INSPECT = ("docker", "container", "inspect", "--format", "{{json .}}")
_ENDINGS = (
    *("docker", "events", "--until", "0s", "--filter", "event=kill", "--filter", "event=stop"),
    *("--format", "{{.Action}}"),
)
_STOPPED_BY_SIGNAL = (0, 137, 143)
"""The exit codes that `docker stop` and `docker kill` leave."""
_NOT_STARTED = (126, 127, 128)
"""Those of a container that could not be started (moby's daemon/start.go); an Error tells them from
the program's own."""


class At(Enum):
    """Where a service stands."""

    ABSENT = "absent"
    STOPPED = "stopped"
    """By a person: what restarts it otherwise did not."""
    CRASHED = "crashed"
    """It ended, and nothing starts it again."""
    RESTARTING = "restarting"
    """What starts it again is about to."""
    RUNNING = "running"
    UNKNOWN = "unknown"
    """Nobody can tell: there is no container, or its host does not answer."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What its host says."""

    at: At
    detail: str = ""
    life: str = ""
    """When it was started; another text is another life."""
    container: str = ""
    """Its id, or its supervisor's: what was made anew counts anew."""
    restarts: int | None = None
    """How often Docker has started it again by itself; None where nobody counts."""


class Hosts:
    """Asks the hosts of services. One for the whole process."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def standing(self, service: Service) -> Standing:
        """How a service stands; never raises."""
        if service.is_embedded:
            return self._process()
        try:
            host, _target = self._room.desk.place_of(service)
            command = [*_INSPECT, service.container or ""]
            done = self._run(host, command)
        except (FormError, ProjectError, ssh.SshError) as error:
            return Standing(At.UNKNOWN, str(error))
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("%s: %s", service.name, type(error).__name__)
            return Standing(At.UNKNOWN, f"{service.host} gives no answer.")
        if done.returncode == 0:
            found = container(done.stdout)
            return self._killed(host, found) if found.at is At.STOPPED else found
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        if "no such container" in said[-1].lower():
            return Standing(At.ABSENT, f"There is no container {service.container} on {host}.")
        return Standing(At.UNKNOWN, f"{host} cannot tell of its containers: {said[-1][:200]}")

    def _killed(self, host: str, found: Standing) -> Standing:
        """Of a container that was ended from outside: was it `docker kill`, and no `docker stop`?

        What is left of it looks the same, and Docker starts neither again. Its events differ: a
        `stop` ends the latter. The engine keeps 256 of them; without them nobody can tell.
        """
        mine = ("--since", found.life, "--filter", f"container={found.container}")
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            endings = set(self._run(host, [*_ENDINGS, *mine]).stdout.decode().split())
            if endings == {"kill"}:
                return replace(found, at=At.CRASHED, detail="Its container was killed.")
        return found

    def _run(self, host: str, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        login = self._room.project.hosts().logins[host]
        if login.connection != "local":
            command = ssh.command(login, shlex.join(command))
        environment = self._room.project.environment()
        return subprocess.run(  # noqa: S603 - the inventory's words, and no shell here
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_WITHIN_S, check=False,
        )  # fmt: skip

    def _process(self) -> Standing:
        socket = self._room.config.engine_supervisor
        assert socket is not None, "it is embedded"
        try:
            with gevent.Timeout(_WITHIN_S, TimeoutError), supervisor(socket) as rpc:
                info: dict[str, Any] = rpc.supervisor.getProcessInfo(ENGINE)
                info["supervisor"] = rpc.supervisor.getPID()
        except (OSError, Error) as error:
            return Standing(At.UNKNOWN, f"The engine's supervisor does not answer: {error}")
        return process(info)


def container(inspected: bytes) -> Standing:
    """What `docker container inspect` says of a container."""
    try:
        found = json.loads(inspected)
        state, policy = found["State"], found["HostConfig"]["RestartPolicy"]["Name"]
        status, code = state["Status"], state["ExitCode"]
        known = {
            "life": state["StartedAt"], "container": found["Id"], "restarts": found["RestartCount"],
        }  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return Standing(At.UNKNOWN, "Docker's answer makes no sense.")
    if status in ("running", "removing"):
        return Standing(At.RUNNING, "Its container runs.", **known)
    if status == "restarting":
        return Standing(
            At.RESTARTING, f"It ended with code {code}; Docker starts it again.", **known
        )
    if status in ("created", "paused"):
        return Standing(At.STOPPED, f"Its container is {status}.", **known)
    if _is_stopped(state, policy):
        return Standing(At.STOPPED, "Somebody stopped its container.", **known)
    return Standing(At.CRASHED, f"Its container ended with code {code}.", **known)


def _is_stopped(state: dict[str, Any], policy: str) -> bool:
    """Whether a person ended it: what ends by itself its policy starts again."""
    code = state["ExitCode"]
    if code in _NOT_STARTED and state.get("Error"):  # Docker tries once, after a reboot say
        return False
    if policy == "on-failure":
        return bool(code == 0)
    asked = code in _STOPPED_BY_SIGNAL and not state.get("OOMKilled")
    return asked or policy in ("always", "unless-stopped")


def process(info: dict[str, Any]) -> Standing:
    """What supervisord says of the engine (supervisord.org/subprocess.html#process-states)."""
    state, known = info["statename"], (str(info["start"]), str(info["supervisor"]))
    if state in ("STARTING", "RUNNING"):
        return Standing(At.RUNNING, "Its process runs.", *known)
    if state == "BACKOFF":
        return Standing(At.RESTARTING, "It ended; its supervisor starts it again.", *known)
    if state in ("STOPPING", "STOPPED"):
        return Standing(At.STOPPED, "Somebody stopped it.", *known)
    return Standing(At.CRASHED, "Its process ended, and its supervisor gave it up.", *known)

"""What jobs run: the folder with the playbooks, the inventory, and Ansible's programs."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proxy_app.hosts.own import OwnHosts, OwnHostsError
from proxy_app.jobs.kept import Kept

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
_READ_WITHIN_S = 30
_TRIES_AGAIN_S = 10.0
_UNREADABLE = "The inventory cannot be read; the gateway's log has the reason."
# Nothing else of the environment reaches a playbook: not the database's URL, not the keys.
_PASSED_ON = (
    "PATH", "HOME", "USER", "LOGNAME", "TZ", "TMPDIR", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR",
    "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT",
)  # fmt: skip


class ProjectError(Exception):
    """Ansible or the inventory cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Login:
    """How a host is reached, as the inventory says."""

    address: str
    user: str | None = None
    """None where ssh decides, as with all that is None or empty."""
    port: int | None = None
    key_file: str | None = None
    arguments: str = ""
    """More of ssh's command line, as a shell has it."""
    connection: str = "ssh"
    """Ansible's word: ssh, or local for this machine."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """What the inventory names."""

    logins: Mapping[str, Login]
    """Every host, and how it is reached."""
    groups: Mapping[str, tuple[str, ...]]

    def named(self, host: str) -> str | None:
        """The inventory's name of a host that is given by its name or its address."""
        if host in self.logins:
            return host
        return next((name for name, it in self.logins.items() if it.address == host), None)


class Project:
    """The playbooks and hosts of one control host.

    Args:
        root: the folder with ansible.cfg, playbooks and collections; this one by default.
        inventory: a file or folder; inventory/local of `root` by default.
        own: the hosts that were added on the page, beside those of the inventory.
        kept: the file in which one process keeps for the others what Ansible takes seconds to read.
    """

    def __init__(
        self, root: Path | None, inventory: Path | None, own: OwnHosts, kept: Path
    ) -> None:
        self.root = (root or ROOT).resolve()
        self.inventory = (inventory or self.root / "inventory/local").resolve()
        self.own = own
        self._kept = Kept(kept)
        self._mutex = threading.Lock()
        self._hosts: tuple[object, Hosts] | None = None
        self._failed: tuple[object, float] | None = None

    def hosts(self) -> Hosts:
        """The inventory, read by Ansible itself; again when one of its files changes.

        Raises:
            ProjectError: it cannot be read.
        """
        with self._mutex:
            seen = (self._fingerprint(), self._kept.stamp())
            if self._hosts is None or self._hosts[0] != seen:
                with self._kept.alone():
                    self._take(anew=False)
            assert self._hosts
            return self._hosts[1]

    def read_again(self) -> None:
        """Read it for all processes: what a script or a plugin lists changes without a file.

        Raises:
            ProjectError: it cannot be read.
        """
        with self._mutex, self._kept.alone():
            self._take(anew=True)

    def _take(self, *, anew: bool) -> None:
        """Take the hosts that are kept, or read them and keep them."""
        files = self._fingerprint()
        value = None if anew else self._kept.get(files)
        if value is None:
            # Many ask, and again and again; what cannot be read takes as long as what can.
            if self._failed and self._failed[0] == files and time.monotonic() < self._failed[1]:
                raise ProjectError(_UNREADABLE)
            try:
                value = asdict(_hosts(self._listed()))
            except ProjectError:
                self._failed = files, time.monotonic() + _TRIES_AGAIN_S
                raise
            self._kept.put(files, value)
        logins = {host: Login(**login) for host, login in value["logins"].items()}
        groups = {group: tuple(hosts) for group, hosts in value["groups"].items()}
        self._hosts = (files, self._kept.stamp()), Hosts(logins, groups)

    def inventories(self) -> list[Path]:
        """All that a playbook is given. What comes first keeps its places in the groups.

        Raises:
            ProjectError: one of them cannot be read.
        """
        sources = self._sources()
        if len(sources) > 1 and not self.hosts().groups.get("control"):
            # Nobody would be told of what is installed.
            sources.append(self.own.control())
        return sources

    def _sources(self) -> list[Path]:
        try:
            own = self.own.inventory()
        except OwnHostsError as error:
            raise ProjectError(str(error)) from None
        return [self.inventory, own] if own else [self.inventory]

    def program(self, name: str) -> str:
        """One of Ansible's programs.

        Raises:
            ProjectError: it is not installed.
        """
        for folder in (ROOT / ".venv/ansible/bin", Path(sys.executable).parent):
            if (folder / name).exists():
                return str(folder / name)
        raise ProjectError(f"{name} is not installed here: `make ansible` installs it.")

    def environment(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """What Ansible's programs, and ssh, are started with; from os.environ by default."""
        environ = os.environ if environ is None else environ
        return {
            **{name: environ[name] for name in _PASSED_ON if name in environ},
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(self.root / "ansible.cfg"),
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            # Else a mistake in the inventory is a warning, and no hosts.
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
            "ANSIBLE_FORCE_COLOR": "1",
            "ANSIBLE_NOCOWS": "1",
            # Not ansible.cfg's live_log: a job shows a build's log itself. Ansible takes no empty
            # list, and passes over this one, as it has another one for its output.
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.minimal",
        }

    def _fingerprint(self) -> list[list[str | int]]:
        if not self.inventory.exists():
            raise ProjectError(f"There is no inventory at {self.inventory} (SPEECH_INVENTORY).")
        files = [self.inventory, *sorted(self.inventory.rglob("*")), *self.own.files]
        return [[str(path), (info := path.stat()).st_mtime_ns, info.st_size] for path in files]

    def _listed(self) -> dict[str, Any]:
        sources = (f"--inventory={source}" for source in self._sources())
        command = [self.program("ansible-inventory"), *sources, "--list"]
        try:
            done = subprocess.run(
                command, cwd=self.root, env=self.environment(os.environ), check=True,
                stdin=subprocess.DEVNULL, capture_output=True, timeout=_READ_WITHIN_S,
            )  # fmt: skip
            listed: dict[str, Any] = json.loads(done.stdout)
        except subprocess.CalledProcessError as error:
            # It may quote the inventory, so it is for the log alone.
            log.error("ansible-inventory: %s", error.stderr.decode(errors="replace").strip())  # noqa: TRY400
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            log.error("ansible-inventory: %s", type(error).__name__)  # noqa: TRY400
        else:
            return listed
        raise ProjectError(_UNREADABLE)


def _hosts(listed: dict[str, Any]) -> Hosts:
    """Names and ways in, and no other variable: some are secrets."""
    variables = listed.pop("_meta", {}).get("hostvars", {})
    groups: dict[str, tuple[str, ...]] = {}

    def members(group: str) -> tuple[str, ...]:
        if group not in groups:
            its = listed.get(group, {})
            below = (host for child in its.get("children", ()) for host in members(child))
            groups[group] = tuple(dict.fromkeys((*its.get("hosts", ()), *below)))
        return groups[group]

    logins = {host: _login(host, variables.get(host, {})) for host in members("all")}
    return Hosts(logins, dict(groups))


def _login(host: str, variables: Mapping[str, Any]) -> Login:
    port = str(variables.get("ansible_port", ""))
    extra = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
    user, key_file = variables.get("ansible_user"), variables.get("ansible_ssh_private_key_file")
    return Login(
        address=str(variables.get("ansible_host", host)),
        user=str(user) if user else None,
        port=int(port) if port.isdecimal() else None,
        key_file=str(key_file) if key_file else None,
        arguments=" ".join(str(variables[name]) for name in extra if name in variables),
        connection=str(variables.get("ansible_connection", "ssh")),
    )

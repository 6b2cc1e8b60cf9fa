"""The page's own inventory, its SSH key, and the host keys that people have confirmed.

They lie in one folder, for this user alone. The inventory is what counts: known_hosts and ssh's
configuration are written from it, so that a folder that was moved, or restored from a backup, is
right again when it is used. Each file is replaced as a whole.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_MAKES_A_KEY_WITHIN_S = 30
_DEFAULT_PORT = 22
PAGE = "spark-speech-page"
"""The name in an inventory of the machine that the page runs on."""


class OwnHostsError(Exception):
    """The folder cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Host:
    """One host that was added on the page."""

    name: str
    address: str
    port: int
    user: str
    groups: tuple[str, ...]
    key: str
    """The host's, as `ssh-ed25519 AAAA...`."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What a host's authorized_keys needs."""

    text: str
    fingerprint: str


class OwnHosts:
    """The hosts that were added on the page.

    Args:
        folder: made when something is written.
        services: where services of these hosts are registered while no inventory names a control.
    """

    def __init__(self, folder: Path, services: Path) -> None:
        self._folder = folder
        self._services = services

    @property
    def ssh_config(self) -> Path:
        """What `ssh -F` is given to get in with our key, and with these hosts' keys alone."""
        return self._folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        """The keys of these hosts."""
        return self._folder / "known_hosts"

    @property
    def files(self) -> list[Path]:
        """What tells whether something has changed."""
        return [self._inventory] if self._inventory.exists() else []

    def hosts(self) -> tuple[Host, ...]:
        """All of them, in the order in which they were added.

        Raises:
            OwnHostsError: the inventory cannot be read.
        """
        try:
            everything = json.loads(self._inventory.read_bytes())["all"]
            groups = everything["children"]
            return tuple(
                Host(
                    name=name,
                    address=it["ansible_host"],
                    port=it["ansible_port"],
                    user=it["ansible_user"],
                    groups=tuple(group for group in groups if name in groups[group]["hosts"]),
                    key=it["speech_host_key"],
                )
                for name, it in everything["hosts"].items()
            )
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, LookupError, TypeError):
            raise OwnHostsError(
                f"The page's inventory {self._inventory} cannot be read: restore it from a backup,"
                " or remove it and add the hosts again."
            ) from None

    def one(self, name: str) -> Host | None:
        """The host of that name.

        Raises:
            OwnHostsError: the inventory cannot be read.
        """
        return next((host for host in self.hosts() if host.name == name), None)

    def inventory(self) -> Path | None:
        """The inventory for Ansible; None while there are no hosts.

        Raises:
            OwnHostsError: it cannot be read.
        """
        if not self._inventory.exists():
            return None
        with self._alone():
            hosts = self.hosts()
            self._write(hosts)
        return self._inventory if hosts else None

    def control(self) -> Path:
        """An inventory in which this machine is control, for where no other says who is."""
        here = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "speech_services_dir": str(self._services),
        }
        path = self._folder / "control.json"
        self._put(path, _json({"control": {"hosts": {PAGE: here}}}))
        return path

    def add(self, host: Host) -> bool:
        """Add a host; False where its name is taken.

        Raises:
            OwnHostsError: the inventory cannot be read.
        """
        with self._alone():
            hosts = self.hosts()
            if host.name in {each.name for each in hosts}:
                return False
            self.public_key()
            self._write((*hosts, host))
            return True

    def change(self, name: str, **values: Any) -> bool:  # noqa: ANN401 - as Host has them
        """Change fields of a host, all at once; False where there is none of that name.

        Raises:
            OwnHostsError: the inventory cannot be read.
        """
        with self._alone():
            hosts = self.hosts()
            changed = (replace(it, **values) if it.name == name else it for it in hosts)
            self._write(tuple(changed))
            return name in {host.name for host in hosts}

    def remove(self, name: str) -> bool:
        """Take a host out; False where there is none of that name.

        Raises:
            OwnHostsError: the inventory cannot be read.
        """
        with self._alone():
            hosts = self.hosts()
            self._write(tuple(host for host in hosts if host.name != name))
            return name in {host.name for host in hosts}

    def public_key(self) -> PublicKey:
        """The public half of our key, which is made when it is wanted first.

        Raises:
            OwnHostsError: there is no ssh-keygen, or the folder cannot be written.
        """
        path = self._folder / "ssh_key"
        if not path.exists():
            self._make_key(path)
        text = path.with_suffix(".pub").read_text(encoding="ascii").strip()
        return PublicKey(text, fingerprint(text.split()[1]))

    def known(self, address: str, port: int) -> set[str]:
        """The fingerprints that were confirmed for an address."""
        return {
            fingerprint(host.key.split()[1])
            for host in self.hosts()
            if (host.address, host.port) == (address, port)
        }

    @contextlib.contextmanager
    def trusting(self, address: str, port: int, key: str) -> Iterator[list[str]]:
        """Options of ssh to get in with our key where nothing is trusted but this host key."""
        self.public_key()
        self._put(self.ssh_config, self._config())
        with tempfile.NamedTemporaryFile("w", dir=self._folder, prefix="trial-") as file:
            file.write(known_host(address, port, key))
            file.flush()
            yield ["-F", str(self.ssh_config), f"-oUserKnownHostsFile={_quoted(Path(file.name))}"]

    @property
    def _inventory(self) -> Path:
        return self._folder / "inventory.json"

    def _write(self, hosts: tuple[Host, ...]) -> None:
        """The inventory last: what it names can be reached."""
        self._put(self.ssh_config, self._config())
        lines = (known_host(host.address, host.port, host.key) for host in hosts)
        self._put(self.known_hosts, "".join(lines))
        self._put(self._inventory, _json({"all": self._everything(hosts)}))

    def _everything(self, hosts: tuple[Host, ...]) -> dict[str, Any]:
        names = dict.fromkeys(group for host in hosts for group in host.groups)
        return {
            "hosts": {host.name: self._variables(host) for host in hosts},
            "children": {
                group: {"hosts": {host.name: None for host in hosts if group in host.groups}}
                for group in names
            },
        }

    def _variables(self, host: Host) -> dict[str, str | int]:
        """All that the variables of another inventory's groups may not decide for it."""
        return {
            "ansible_connection": "ssh",
            "ansible_host": host.address,
            "ansible_port": host.port,
            "ansible_user": host.user,
            "ansible_ssh_private_key_file": str(self._folder / "ssh_key"),
            "ansible_ssh_common_args": shlex.join(["-F", str(self.ssh_config)]),
            "ansible_python_interpreter": "auto_silent",
            # Empty: the address by which it is reached. That of this machine would be its loopback.
            "speech_bind_address": "",
            "speech_host_key": host.key,
        }

    def _config(self) -> str:
        lines = [
            "# Written by the page, for the hosts that were added there.",
            "Host *",
            f"    IdentityFile {_quoted(self._folder / 'ssh_key')}",
            "    IdentitiesOnly yes",
            f"    UserKnownHostsFile {_quoted(self.known_hosts)}",
            "    GlobalKnownHostsFile /dev/null",
            "    StrictHostKeyChecking yes",
            "    UpdateHostKeys no",
            "    CheckHostIP no",
            "    PreferredAuthentications publickey",
        ]
        return "\n".join(lines) + "\n"

    def _make_key(self, path: Path) -> None:
        comment = "spark-speech@" + re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
        self._make_folder()
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="key-") as made:
            new = Path(made) / "ssh_key"
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(new)]
            try:
                subprocess.run(
                    command, check=True, stdin=subprocess.DEVNULL, capture_output=True,
                    timeout=_MAKES_A_KEY_WITHIN_S,
                )  # fmt: skip
            except FileNotFoundError:
                raise OwnHostsError(
                    "ssh is not installed on the machine of the page: install openssh-client."
                ) from None
            except (OSError, subprocess.SubprocessError) as error:
                raise OwnHostsError(f"No SSH key can be made: {type(error).__name__}.") from None
            with _locked(self._folder / "key.lock"):
                # Made once: who comes second takes the first one's.
                if not path.exists():
                    new.with_suffix(".pub").rename(path.with_suffix(".pub"))
                    new.rename(path)

    def _put(self, path: Path, text: str) -> None:
        """Write a file as a whole, where it is not so already."""
        with contextlib.suppress(OSError, ValueError):
            if path.read_text(encoding="utf-8") == text:
                return
        self._make_folder()
        descriptor, new = tempfile.mkstemp(dir=self._folder, prefix=f"{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(new).rename(path)
        except BaseException:
            Path(new).unlink(missing_ok=True)
            raise

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        self._make_folder()
        return _locked(self._folder / "hosts.lock")


def fingerprint(blob: str) -> str:
    """That of a key in base64, as `ssh-keygen -l` shows it."""
    digest = hashlib.sha256(base64.b64decode(blob, validate=True)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def known_host(address: str, port: int, key: str) -> str:
    """A line of known_hosts, as sshd(8) describes it."""
    where = address if port == _DEFAULT_PORT else f"[{address}]:{port}"
    return f"{where} {key}\n"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _quoted(path: Path) -> str:
    """A path in ssh's configuration, where a percent sign begins a token."""
    return '"' + str(path).replace("%", "%%") + '"'


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"

"""ssh, as this project calls it: the command, what its end means, and which keys a host shows."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from proxy_app.hosts.own import fingerprint
from proxy_app.jobs.project import Login

CONNECTS_WITHIN_S = 15
_SCANS_WITHIN_S = 30
_LONGEST_SAID = 300
_NO_COMMAND = 127
_KEY = re.compile(r"(\S+) ((?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]+) ([A-Za-z0-9+/]{16,16384}={0,2})")
# Nobody is there to answer a question, and a connection of ours is nobody else's.
_FIRST = {
    "BatchMode": "yes",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "PermitLocalCommand": "no",
    "LogLevel": "ERROR",
    "ConnectTimeout": CONNECTS_WITHIN_S,
    "ServerAliveInterval": 15,
    "ServerAliveCountMax": 3,
}
# Where the inventory does not say otherwise.
_LAST = {"StrictHostKeyChecking": "yes"}


class SshError(Exception):
    """A host cannot be reached; the message says why in a sentence."""


class DeniedError(SshError):
    """The SSH server takes none of the keys."""


class UnusableError(Exception):
    """ssh cannot be used on this machine; the message says what to do."""


@dataclass(frozen=True, slots=True)
class HostKey:
    """One key that a host shows."""

    type: str
    blob: str

    @property
    def line(self) -> str:
        """The key as known_hosts has it, without the host."""
        return f"{self.type} {self.blob}"

    @property
    def fingerprint(self) -> str:
        """As ssh shows it to people."""
        return fingerprint(self.blob)


def command(login: Login, remote: str, options: Iterable[str] = ()) -> list[str]:
    """The command line by which `remote` is run on a host.

    Raises:
        SshError: the inventory's variables are templates, or no words of a shell.
    """
    said = (login.address, login.user or "", login.key_file or "", login.arguments)
    if any("{{" in text for text in said):
        raise SshError("Its variables in the inventory are templates, which playbooks alone read.")
    try:
        arguments = shlex.split(login.arguments)
    except ValueError:
        raise SshError("Its ansible_ssh_common_args in the inventory has an open quote.") from None
    line = ["ssh", "-T", *options, *_options(_FIRST), *arguments, *_options(_LAST)]
    line += ["-i", login.key_file] if login.key_file else []
    line += ["-p", str(login.port)] if login.port else []
    line += ["-l", login.user] if login.user else []
    return [*line, "--", login.address, remote]


def why(login: Login, status: int | None, said: str) -> SshError:
    """What the end of ssh means, told by its status and by what it said last."""
    who = f"{login.user}@{login.address}" if login.user else login.address
    if "Permission denied" in said:
        return DeniedError(f"{who} lets nobody in with this key.")
    if "Host key verification failed" in said or "HOST IDENTIFICATION HAS CHANGED" in said:
        return SshError(f"{login.address} shows another host key than the one that is known.")
    if status == _NO_COMMAND:
        return SshError(f"{login.address} has no python3: install it there.")
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    words = "".join(letter for letter in last if letter.isprintable()).strip()[:_LONGEST_SAID]
    return SshError(words or f"{login.address} closed the connection.")


def scan(address: str, port: int, environment: Mapping[str, str]) -> list[HostKey]:
    """The keys that a host shows to whoever asks.

    Raises:
        SshError: no SSH server answers there.
        UnusableError: ssh-keyscan is not installed.
    """
    line = ["ssh-keyscan", "-T", "10", "-t", "ed25519,ecdsa,rsa", "-p", str(port), "--", address]
    try:
        done = subprocess.run(
            line, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, check=False,
            timeout=_SCANS_WITHIN_S,
        )  # fmt: skip
    except FileNotFoundError:
        raise UnusableError(
            "ssh is not installed on the machine of the page: install openssh-client."
        ) from None
    except subprocess.TimeoutExpired:
        done = None
    lines = done.stdout.decode("ascii", "replace").splitlines() if done else []
    found = [HostKey(match[2], match[3]) for match in map(_KEY.fullmatch, lines) if match]
    if not found:
        # The same words whatever is there: this is no tool for looking through a network.
        raise SshError(f"No SSH server answers at {address}, port {port}.")
    return sorted(found, key=lambda key: ("ed25519" not in key.type, key.type))


def _options(options: Mapping[str, object]) -> list[str]:
    return [f"-o{name}={value}" for name, value in options.items()]

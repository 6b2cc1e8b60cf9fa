"""Whether a host can be used: in with our key, put there by a password if one is given, and a look.

A password is typed into ssh once, by a process of its own, to a host whose key was confirmed. It is
kept nowhere.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy_app.hosts import line, ssh
from proxy_app.hosts.looks import parse
from proxy_app.hosts.own import OwnHosts
from proxy_app.jobs.project import Login

_LOOKS_WITHIN_S = 60
_TYPES_WITHIN_S = 100
_DONE = "speech-key-is-there"
_TYPES = Path(__file__).with_name("typing_password.py")
# As ssh-copy-id does it: the file may lack its last line's end, and SELinux wants its label.
_INSTALLS = """
cd && umask 077 && mkdir -p .ssh || exit 1
grep -qxF {key} .ssh/authorized_keys 2>/dev/null || {{
  [ -z "$(tail -c 1 .ssh/authorized_keys 2>/dev/null)" ] || echo >> .ssh/authorized_keys
  printf '%s\\n' {key} >> .ssh/authorized_keys || exit 1
}}
type restorecon >/dev/null 2>&1 && restorecon -F .ssh .ssh/authorized_keys
echo {done}
"""
_BY_PASSWORD = (
    "-oBatchMode=no", "-oPubkeyAuthentication=no", "-oNumberOfPasswordPrompts=1",
    "-oPreferredAuthentications=password,keyboard-interactive",
)  # fmt: skip
_SAID = {
    "denied": "{who} cannot log in with this password, or with none.",
    "more": "{who} is asked for more than a password: put the public key there by hand.",
    "failed": "The key could not be put there with this password: do it by hand.",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it."""

    ok: bool
    detail: str
    found: Mapping[str, Any] | None = None


def confirmed_keys(login: Login, wanted: str, environment: Mapping[str, str]) -> list[ssh.HostKey]:
    """A host's keys, the one first that somebody has confirmed by its fingerprint.

    Raises:
        SshError: no server answers, or it shows other keys.
        UnusableError: ssh is not installed.
    """
    assert login.port, "given"
    keys = ssh.scan(login.address, login.port, environment)
    keys.sort(key=lambda key: key.fingerprint != wanted)
    if keys[0].fingerprint == wanted:
        return keys
    raise ssh.SshError(
        f"{login.address} does not show the key with this fingerprint: look at it once more."
    )


def try_host(
    own: OwnHosts,
    login: Login,
    fingerprint: str,
    password: str | None,
    environment: Mapping[str, str],
) -> Trial:
    """Log in on a host that may be added.

    Raises:
        UnusableError: ssh is not installed.
        OwnHostsError: we have no key.
    """
    assert login.port, "given"
    try:
        key, *_ = confirmed_keys(login, fingerprint, environment)
        with own.trusting(login.address, login.port, key.line) as options:
            try:
                return _look(login, options, environment)
            except ssh.DeniedError:
                if password is None:
                    raise
            _install(own.public_key().text, login, password, options, environment)
            return _look(login, options, environment)
    except (ssh.SshError, ValueError) as error:
        return Trial(False, str(error))


def _look(login: Login, options: list[str], environment: Mapping[str, str]) -> Trial:
    try:
        done = subprocess.run(
            line.command(login, tuple(options)), env=dict(environment), check=False,
            input=line.OPENING + line.QUESTION, capture_output=True, timeout=_LOOKS_WITHIN_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ssh.SshError(f"{login.address} does not answer.") from None
    if not done.stdout:
        raise ssh.why(login, done.returncode, done.stderr.decode(errors="replace"))
    return Trial(True, "", parse(done.stdout).found())


def _install(
    public: str, login: Login, password: str, options: list[str], environment: Mapping[str, str]
) -> None:
    script = _INSTALLS.format(key=shlex.quote(public), done=_DONE)
    remote = f"exec sh -c {shlex.quote(script)}"
    order = {
        "command": ssh.command(login, remote, (*_BY_PASSWORD, *options)),
        "done": f"{_DONE}\r?\n",
        "password": password,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(_TYPES)], env=dict(environment), check=False,
            input=json.dumps(order).encode(), capture_output=True, timeout=_TYPES_WITHIN_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        done = None
    said = done.stdout.decode(errors="replace") if done else "failed"
    if said != "done":
        who = f"{login.user}@{login.address}"
        raise ssh.SshError(_SAID.get(said, _SAID["failed"]).format(who=who))

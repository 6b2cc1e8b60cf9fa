"""A connection to one host that stays open: a program waits at its other end for questions.

The program is sent with the connection and ends with it; nothing is installed. When this process
dies its pipes close, and ssh and the program with them.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from proxy_app.hosts import ssh
from proxy_app.hosts.looks import LARGEST
from proxy_app.jobs.project import Login

_PROGRAM = Path(__file__).with_name("on_host.py").read_bytes()
_READS_IT = "import sys; exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"
_REMOTE = f"exec python3 -I -c '{_READS_IT}'"
OPENING = b"%d\n%s" % (len(_PROGRAM), _PROGRAM)
"""What the program's standard input begins with."""
QUESTION = b"look\n"
_KEPT_OF_ERRORS = 4000
_ENDS_WITHIN_S = 3


def command(login: Login, options: tuple[str, ...] = ()) -> list[str]:
    """What is started to talk with a host.

    Raises:
        SshError: the inventory's way in is none that can be gone.
    """
    if login.connection == "local":
        return [sys.executable, "-I", "-c", _READS_IT]
    if login.connection not in ("ssh", "ansible.builtin.ssh", "smart"):
        raise ssh.SshError("Its ansible_connection is neither ssh nor local.")
    return ssh.command(login, _REMOTE, options)


class Line:
    """An open connection.

    Raises:
        SshError: the inventory's way in is none that can be gone.
        UnusableError: ssh is not installed.
    """

    def __init__(self, login: Login, environment: Mapping[str, str]) -> None:
        self.login = login
        try:
            self._process = subprocess.Popen(
                command(login), env=dict(environment), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            )  # fmt: skip
        except FileNotFoundError:
            raise ssh.UnusableError("ssh is not installed on the machine of the page.") from None
        self._unsent = OPENING
        self._errors = b""

    def ask(self, within_s: float) -> bytes:
        """Ask how the host is; the answer is one line.

        Raises:
            SshError: it cannot be reached, or does not answer. The connection is of no use then.
        """
        assert self._process.stdin, "a pipe"
        with contextlib.suppress(BrokenPipeError):  # what it said before it ended is read below
            self._process.stdin.write(self._unsent + QUESTION)
        self._unsent = b""
        return self._answer(time.monotonic() + within_s)

    def stop(self) -> None:
        """Make who waits for an answer wait no longer."""
        self._process.terminate()

    def close(self) -> None:
        """End it, whatever state it is in."""
        self.stop()
        with self._process:  # which closes the pipes and waits
            try:
                self._process.wait(_ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _answer(self, until: float) -> bytes:
        out, err = self._process.stdout, self._process.stderr
        assert out, "a pipe"
        assert err, "a pipe"
        answer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            selector.register(err, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, until - time.monotonic()))
                if not ready:
                    raise ssh.SshError(f"{self.login.address} does not answer.")
                for key, _ in ready:
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is out:
                        answer += data
                    else:
                        self._errors = (self._errors + data)[-_KEPT_OF_ERRORS:]
                if answer.endswith(b"\n"):
                    return answer
                if len(answer) > LARGEST:
                    raise ssh.SshError(f"{self.login.address} answers without an end.")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDS_WITHIN_S)
        said = self._errors.decode(errors="replace")
        raise ssh.why(self.login, self._process.returncode, said)

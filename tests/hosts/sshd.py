"""A host with a real sshd for the tests: the fleet's, without Docker's engine in it."""

import contextlib
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.engine import Engine
from tests.fleet.spark import HOST_KEY, USER, make_key, put

PASSWORD = "correct horse; $(battery) 'staple'"
STANDINS = Path(__file__).resolve().parents[1] / "standins"
# It ends with its standard input, and so with the test run, whatever ends that.
STARTS = (
    "mkdir -p /run/sshd; { while :; do"
    " /usr/sbin/sshd -D -e -o PasswordAuthentication=yes -o MaxAuthTries=20; sleep 0.1; done; }"
    " < /dev/null & cat > /dev/null; kill 0"
)
LABEL = "spark-speech-sshd"


@dataclass
class Sshd:
    """One running host."""

    engine: Engine
    container: str
    address: str
    user: str = USER

    def root(self, command: str) -> str:
        """What a shell command prints, run as root on the host without ssh."""
        return self.engine.run("exec", self.container, "sh", "-c", command).stdout

    @property
    def authorized_keys(self) -> str:
        return self.root(f"cat /home/{USER}/.ssh/authorized_keys 2>/dev/null || true")

    def allow(self, public_key: str) -> None:
        """Let a key in, as its owner would with an editor."""
        file = f"/home/{USER}/.ssh/authorized_keys"
        self.root(f"echo '{public_key}' >> {file}; chown {USER}: {file}; chmod 600 {file}")

    def forget_keys(self) -> None:
        self.root(f"rm -f /home/{USER}/.ssh/authorized_keys")

    def sessions(self) -> list[str]:
        """The processes of sshd that serve the user's connections."""
        return self.root(f"pgrep --exact --uid {USER} sshd || true").split()

    def fingerprint(self) -> str:
        said = self.root(f"ssh-keygen -lf /{HOST_KEY}")
        return said.split()[1]

    def show_another_key(self) -> None:
        self.root(f"rm /{HOST_KEY}*; ssh-keygen -q -t ed25519 -N '' -f /{HOST_KEY}; pkill sshd")
        self.wait()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """There, and silent."""
        self.engine.run("pause", self.container)
        try:
            yield
        finally:
            self.engine.run("unpause", self.container)

    def wait(self) -> None:
        until = time.monotonic() + 30
        asks = "ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | grep -q ed25519 && echo yes || true"
        while not self.root(asks):
            assert time.monotonic() < until, "sshd does not answer"
            time.sleep(0.1)


@contextlib.contextmanager
def running(engine: Engine, image: str, folder: Path) -> Iterator[Sshd]:
    """Run a host; it goes with the test run."""
    name = f"speech-sshd-{secrets.token_hex(4)}"
    command = ("--entrypoint", "/bin/sh", image, "-c", STARTS)
    engine.run("create", "--rm", "-i", "--init", "--label", LABEL, "--name", name, *command)
    key = folder / "host.key"
    make_key(key)
    put(engine, name, {HOST_KEY: key.read_bytes()}, owner=0)
    smi = (STANDINS / "nvidia_smi.sh").read_bytes()
    put(engine, name, {"usr/bin/nvidia-smi": smi}, owner=0, mode=0o755)
    started = subprocess.Popen(
        [engine.client, "start", "--attach", "--interactive", name], env=engine.environment,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with started:
        host = Sshd(engine, name, _address(engine, name))
        engine.run("exec", "-i", name, "chpasswd", stdin=f"{USER}:{PASSWORD}\n".encode())
        host.wait()
        yield host
        engine.run("rm", "--force", name)


def _address(engine: Engine, name: str) -> str:
    """The host's address, which it has once it runs."""
    asks = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    until = time.monotonic() + 60
    while not (address := engine.run("inspect", "-f", asks, name).stdout.strip()):
        assert time.monotonic() < until, "the host does not start"
        time.sleep(0.1)
    return address

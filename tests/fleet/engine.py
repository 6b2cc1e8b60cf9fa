"""A Docker engine for the tests: the one that is there, or one started for them and stopped again.

DOCKER_HOST or the local socket is used where it answers. Elsewhere, as root on Debian or its
kin, docker.io is installed and dockerd started by itself, with its data, socket and process id
in one folder (SPEECH_FLEET_DIR, by default ~/.cache/spark-speech-fleet) that survives between
runs, so that images are made once. Several test runs may share that engine; the last one to
leave stops it. `python -m tests.fleet` holds it, until Ctrl-C, for many runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STARTS_WITHIN_S = 60
STOPS_WITHIN_S = 30
APT_WITHIN_S = 600
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class MissingError(Exception):
    """Something that these tests need is not here; the message says what to install."""


class DockerError(Exception):
    """A docker command failed; the message holds the end of what it said."""


@dataclass(frozen=True)
class Engine:
    """A Docker engine, driven by its command line client."""

    client: str
    host: str = ""
    """DOCKER_HOST of this engine; empty for the client's own default."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which the client speaks to this engine."""
        environment = dict(os.environ, DOCKER_BUILDKIT="1")
        if self.host:
            environment["DOCKER_HOST"] = self.host
        return environment

    def run(
        self, *arguments: str, stdin: bytes = b"", check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker ARGUMENTS`; a failure raises DockerError unless CHECK is off."""
        done = subprocess.run(
            [self.client, *arguments],
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=timeout,
            check=False,
        )
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode:
            said = "\n".join((out + err).splitlines()[-30:])
            raise DockerError(f"docker {' '.join(arguments)}: exit {done.returncode}\n{said}")
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def lines(self, *arguments: str) -> list[str]:
        """The lines that `docker ARGUMENTS` prints."""
        return self.run(*arguments).stdout.split()

    def server_version(self) -> str:
        """The engine's version, or an empty string while it does not answer."""
        try:
            done = self.run("version", "--format", "{{.Server.Version}}", check=False, timeout=15)
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    def has_image(self, name: str) -> bool:
        """Whether the image is in this engine."""
        return self.run("image", "inspect", name, check=False).returncode == 0


def fleet_folder() -> Path:
    """The folder that holds what survives between runs."""
    given = os.environ.get("SPEECH_FLEET_DIR")
    folder = Path(given) if given else Path.home() / ".cache" / "spark-speech-fleet"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on PATH; a process that dies lets go of it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def running_engine() -> Iterator[Engine]:
    """The engine to use; raises MissingError where there is none and none may be started."""
    answering = _answering_engine()
    if answering:
        yield answering
        return
    install("dockerd", package="docker.io")
    # Debian starts an engine on installation, where it may.
    answering = _answering_engine()
    if answering:
        yield answering
        return
    with own_engine(fleet_folder()) as engine:
        yield engine


def install(command: str, package: str) -> None:
    """Install a Debian package unless its COMMAND is there; raises MissingError if not allowed."""
    if shutil.which(command, path=SYSTEM_PATH):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingError(
            f"no {command} here: install {package}, or for dockerd start a Docker engine that this "
            "user may use (or set DOCKER_HOST); as root on Debian or Ubuntu the tests do it "
            "themselves"
        )
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120"]
    wanted = [*apt, "install", "--no-install-recommends", package]
    if _quietly(wanted).returncode == 0:
        return
    _quietly([*apt, "update"])
    done = _quietly(wanted)
    if done.returncode:
        raise MissingError(f"apt-get install {package} failed:\n{done.stdout[-2000:]}")


def _quietly(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"),
        timeout=APT_WITHIN_S,
        text=True,
        check=False,
    )


def _answering_engine() -> Engine | None:
    """The engine of DOCKER_HOST or of the client's default, if it answers."""
    clients = _clients()
    host = os.environ.get("DOCKER_HOST", "")
    if not clients:
        return None
    version = Engine(clients[0], host).server_version()
    if version:
        return _matching(clients, version, host)
    if host:
        raise MissingError(f"DOCKER_HOST={host} does not answer: start that engine, or unset it")
    return None


def _clients() -> list[str]:
    """The docker clients of this machine; a machine may have one of each packager."""
    found = (shutil.which("docker"), shutil.which("docker", path="/usr/bin:/bin"))
    return list(dict.fromkeys(client for client in found if client))


def _matching(clients: Sequence[str], version: str, host: str) -> Engine:
    """Prefer the client of the engine's own version: a newer one builds only with buildx."""
    for client in clients:
        engine = Engine(client, host)
        said = engine.run("version", "--format", "{{.Client.Version}}", check=False).stdout
        if said.split("+")[0].strip() == version.split("+", maxsplit=1)[0]:
            return engine
    return Engine(clients[0], host)


@contextmanager
def own_engine(folder: Path, *options: str) -> Iterator[Engine]:
    """Start dockerd in FOLDER unless another run has; stop it unless another still uses it.

    OPTIONS are further ones of dockerd.
    """
    engine = _matching(_clients(), _dockerd_version(), f"unix://{folder}/docker.sock")
    with (folder / "users.lock").open("w") as users:
        try:
            with locked(folder / "engine.lock"):
                fcntl.flock(users, fcntl.LOCK_SH)
                if not engine.server_version():
                    _start(folder, engine, options)
            yield engine
        finally:
            with locked(folder / "engine.lock"), contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _stop(folder)


def _dockerd() -> str:
    path = shutil.which("dockerd", path=SYSTEM_PATH)
    assert path, "dockerd was found or installed before"
    return path


def _dockerd_version() -> str:
    """What follows "Docker version" in `dockerd --version`, without the comma."""
    said = subprocess.run([_dockerd(), "--version"], capture_output=True, text=True, check=True)
    return said.stdout.removeprefix("Docker version ").partition(",")[0]


def _start(folder: Path, engine: Engine, options: Sequence[str]) -> None:
    _stop(folder)
    # After a power cut these may name strangers' processes, and dockerd would believe them.
    for stale in ("dockerd.pid", "run/containerd/containerd.pid"):
        (folder / stale).unlink(missing_ok=True)
    command = [
        # Of a session of its own: Ctrl-C must not reach it before the fleet is taken down.
        *("setsid", "--fork", _dockerd()),
        *("--host", engine.host),
        *("--data-root", f"{folder}/data"),
        *("--exec-root", f"{folder}/run"),
        *("--pidfile", f"{folder}/dockerd.pid"),
        *("--shutdown-timeout", "5"),
        *options,
    ]
    environment = dict(os.environ, PATH=SYSTEM_PATH)
    log = folder / "dockerd.log"
    with log.open("wb") as output:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=True,
        )
    deadline = time.monotonic() + STARTS_WITHIN_S
    while not engine.server_version():
        said = log.read_text(errors="replace")
        if time.monotonic() > deadline or "failed to start daemon" in said:
            _stop(folder)
            raise MissingError(f"dockerd does not start here; its log ends:\n{said[-3000:]}")
        time.sleep(0.1)


def _stop(folder: Path) -> None:
    """Stop the dockerd of this folder: asked first, killed after STOPS_WITHIN_S."""
    try:
        pid = int((folder / "dockerd.pid").read_text())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return
    if name != "dockerd":
        return
    deadline = time.monotonic() + STOPS_WITHIN_S
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)

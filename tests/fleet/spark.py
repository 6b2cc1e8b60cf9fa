"""A Spark for tests: a host with sshd, a user in the docker group, and an engine of its own."""

from __future__ import annotations

import contextlib
import io
import shlex
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.engine import DockerError, Engine

USER = "spark"
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
TINY_DISK = "60m"
GPU = Path(__file__).resolve().parents[1] / "standins" / "gpu"
ANSWERS_WITHIN_S = 60
# What an engine in a container needs, and no more: to mount, to set up networks, to enter
# containers of other users, and the paths of /proc/sys that Docker otherwise hides or mounts
# read-only. Full privileges are not needed (and are refused on machines that lack one of them).
CAPABILITIES = (
    *("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined"),
)


@dataclass(frozen=True)
class Spark:
    """One running host. Every fault is a context manager that takes itself back."""

    name: str
    container: str
    address: str
    engine: Engine
    """The engine in which this host is a container, not the one inside it."""
    folder: Path
    """The fleet's folder: client_key, known_hosts, and this host's NAME.key."""

    @property
    def ssh_options(self) -> list[str]:
        """Options by which ssh trusts this host's key alone and ignores the caller's own files."""
        options = {
            "UserKnownHostsFile": self.folder / "known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": 10,
        }
        return ["-F", "none", *(f"-o{name}={value}" for name, value in options.items())]

    @property
    def variables(self) -> dict[str, str]:
        """The host's variables in an inventory."""
        return {
            "ansible_host": self.address,
            "ansible_user": USER,
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": str(self.folder / "client_key"),
            "ansible_ssh_common_args": shlex.join(self.ssh_options),
        }

    def ssh(
        self, command: str, *, stdin: str = "", check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command as the user; a failure raises DockerError with what it said."""
        identity = ["-i", str(self.folder / "client_key")]
        done = subprocess.run(
            ["ssh", *self.ssh_options, *identity, f"{USER}@{self.address}", "--", command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}"[-3000:]
            raise DockerError(f"{self.name}: {command}: exit {done.returncode}\n{said}")
        return done

    def docker(self, *arguments: str, check: bool = True, timeout: float = 120) -> str:
        """What `docker ARGUMENTS` prints on the host, run as the user over ssh."""
        return self.ssh(shlex.join(("docker", *arguments)), check=check, timeout=timeout).stdout

    def root(self, *command: str, check: bool = True) -> str:
        """What a command prints, run as root on the host without ssh."""
        return self.engine.run("exec", self.container, *command, check=check).stdout

    def wait(self) -> None:
        """Wait until ssh and the engine inside answer."""
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while True:
            done = self.ssh("docker version --format {{.Server.Version}}", check=False)
            if done.returncode == 0:
                return
            if time.monotonic() > deadline:
                log = self.root("tail", "-n", "20", "/var/log/dockerd.log", check=False)
                raise DockerError(f"{self.name} does not answer: {done.stderr}\n{log}")
            time.sleep(0.1)

    @contextmanager
    def without_dockerd(self) -> Iterator[None]:
        """The engine is stopped, and its containers with it."""
        self.root("touch", "/run/no-dockerd")
        self.root("pkill", "--exact", "dockerd")
        self._wait_for("no dockerd", "! pgrep --exact dockerd")
        try:
            yield
        finally:
            self.root("rm", "-f", "/run/no-dockerd")
            self.wait()

    @contextmanager
    def without_docker(self) -> Iterator[None]:
        """The docker command is not installed."""
        self.root("mv", "/usr/bin/docker", "/usr/bin/docker.away")
        try:
            yield
        finally:
            self.root("mv", "/usr/bin/docker.away", "/usr/bin/docker")

    @contextmanager
    def without_permission(self) -> Iterator[None]:
        """The user is not in the docker group; sessions that were open with it are closed."""
        self.root("gpasswd", "--delete", USER, "docker")
        self.hang_up()
        try:
            yield
        finally:
            self.root("gpasswd", "--add", USER, "docker")
            self.hang_up()

    @contextmanager
    def with_another_host_key(self) -> Iterator[None]:
        """The host shows a key that known_hosts does not have, as after a reinstallation."""
        other = self.folder / f"{self.name}.other_key"
        make_key(other)
        self._show_key(other)
        try:
            yield
        finally:
            self._show_key(self.folder / f"{self.name}.key")
            other.unlink()
            self.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The host is there and answers nothing, as one that hangs."""
        self.engine.run("pause", self.container)
        try:
            yield
        finally:
            self.engine.run("unpause", self.container)
            self.wait()

    def _show_key(self, key: Path) -> None:
        put(self.engine, self.container, {HOST_KEY: key.read_bytes()}, owner=0)
        self.root("pkill", "--exact", "sshd")
        shown = f"ssh-keyscan -t ed25519 {self.address} 2>/dev/null"
        public = key.with_suffix(f"{key.suffix}.pub").read_text().split()[1]
        self._wait_for("its new host key", f"{shown} | grep -qF {public}")

    def hang_up(self) -> None:
        """Close the user's ssh sessions; the listening sshd stays."""
        self.root("pkill", "--exact", "--uid", USER, "sshd", check=False)

    def _wait_for(self, what: str, condition: str) -> None:
        """Wait until a shell CONDITION, checked on the host, is true."""
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while self.engine.run(
            "exec", self.container, "sh", "-c", condition, check=False
        ).returncode:
            if time.monotonic() > deadline:
                raise DockerError(f"{self.name}: waited in vain for {what}")
            time.sleep(0.05)


def start_spark(
    engine: Engine,
    *,
    name: str,
    image: str,
    fleet: str,
    label: str,
    folder: Path,
    tiny_disk: bool = False,
    gpu: bool = False,
) -> Spark:
    """Create and start a host on the network FLEET; its key joins FOLDER/known_hosts.

    With TINY_DISK all that its engine can hold, images and containers, is 60 MB. With GPU it has
    stand-ins for NVIDIA's device and programs, as the container toolkit leaves them on a host.
    """
    container = f"{fleet}-{name}"
    if tiny_disk:
        # exec and suid: images hold programs.
        disk = ["--tmpfs", f"/var/lib/docker:size={TINY_DISK},exec,suid,dev"]
    else:
        # A folder of the container would be overlay on overlay, which Linux refuses.
        disk = ["--mount", f"type=volume,dst=/var/lib/docker,volume-label={label}"]
    place = ["--label", label, "--name", container, "--hostname", name]
    place += ["--network", fleet, "--network-alias", name]
    engine.run("create", *place, *CAPABILITIES, *disk, image)

    key = folder / f"{name}.key"
    make_key(key)
    put(engine, container, {HOST_KEY: key.read_bytes()}, owner=0)
    allowed = (folder / "client_key.pub").read_bytes()
    put(engine, container, {f"home/{USER}/.ssh/authorized_keys": allowed}, owner=1000)
    if gpu:
        programs = {f"usr/bin/{file.name}": file.read_bytes() for file in GPU.glob("nvidia-*")}
        put(engine, container, programs, owner=0, mode=0o755)
        put(
            engine,
            container,
            {"etc/docker/daemon.json": (GPU / "daemon.json").read_bytes()},
            owner=0,
        )
    engine.run("start", container)
    if gpu:
        engine.run("exec", container, "touch", "/dev/nvidiactl")

    address = engine.run(
        *("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)
    ).stdout.strip()
    # Ansible's workers and ssh read this file while another host joins: one write, appended.
    with (folder / "known_hosts").open("a") as known:
        known.write(f"{address} {key.with_suffix('.key.pub').read_text()}")
    return Spark(name=name, container=container, address=address, engine=engine, folder=folder)


def make_key(path: Path) -> None:
    """Make an ed25519 key pair without a passphrase: PATH and PATH.pub."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def put(
    engine: Engine, container: str, files: dict[str, bytes], *, owner: int, mode: int = 0o600
) -> None:
    """Write files into a container; it need not run."""
    packed = io.BytesIO()
    with contextlib.closing(tarfile.open(fileobj=packed, mode="w")) as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode, member.uid, member.gid = len(content), mode, owner, owner
            tar.addfile(member, io.BytesIO(content))
    engine.run("cp", "-", f"{container}:/", stdin=packed.getvalue())

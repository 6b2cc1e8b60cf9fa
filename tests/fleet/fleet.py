"""Two Sparks on a network of their own, for as long as a test run lasts.

Everything is labelled with the run, and a run holds a lock on its folder while it lives: what a
killed run left behind is found, and removed, when the next one starts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fleet.engine import DockerError, Engine, fleet_folder, locked
from tests.fleet.images import Images, fleet_images
from tests.fleet.spark import Spark, make_key, start_spark

LABEL = "spark-speech-fleet"
LOADS_WITHIN_S = 300
REMOVES_WITHIN_S = 300


@dataclass(frozen=True)
class Fleet:
    """The running hosts, and what it takes to reach them."""

    engine: Engine
    images: Images
    run: str
    """Name of the run, and of its network."""
    folder: Path
    """client_key, known_hosts and inventories; goes with the run."""
    sparks: list[Spark] = field(default_factory=list)

    def inventory(
        self,
        groups: Mapping[str, Sequence[Spark]] | None = None,
        **variables: Any,  # noqa: ANN401 - whatever JSON holds
    ) -> Path:
        """Write an inventory; VARIABLES are those of all hosts.

        By default WhisperX and Magpie are on the first Spark, Parakeet and the Sortformer patch
        on the last. The control host is this machine.
        """
        first, last = [self.sparks[0]], [self.sparks[-1]]
        if groups is None:
            groups = {"whisperx": first, "parakeet": last, "sortformer": last, "magpie": first}
        local = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        }
        children: dict[str, Any] = {
            group: {"hosts": {spark.name: spark.variables for spark in sparks}}
            for group, sparks in groups.items()
        }
        children["control"] = {"hosts": {"localhost": local}}
        everything = {
            "all": {
                "vars": {"speech_base_image": self.images.base, **variables},
                "children": children,
            }
        }
        # JSON is YAML too.
        path = self.folder / f"inventory-{secrets.token_hex(4)}.yml"
        path.write_text(json.dumps(everything, indent=2))
        return path

    @property
    def gateway(self) -> str:
        """The address by which the hosts reach this machine."""
        told = ("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", self.run)
        return self.engine.run(*told).stdout.strip()

    def start(self, name: str, *, tiny_disk: bool = False, gpu: bool = False) -> Spark:
        """Start a host and load the images of builds, as far as they fit, into its engine."""
        spark = start_spark(
            self.engine,
            name=name,
            image=self.images.spark,
            fleet=self.run,
            label=f"{LABEL}={self.run}",
            folder=self.folder,
            tiny_disk=tiny_disk,
            gpu=gpu,
        )
        spark.wait()
        self.load(spark, [self.images.tiny] if tiny_disk else [self.images.tiny, self.images.base])
        return spark

    @contextmanager
    def another_spark(
        self, name: str, *, tiny_disk: bool = False, gpu: bool = False
    ) -> Iterator[Spark]:
        """A host for one test; its GPU, if it has one, is a stand-in."""
        spark = self.start(name, tiny_disk=tiny_disk, gpu=gpu)
        try:
            yield spark
        finally:
            self.engine.run("rm", "--force", "--volumes", spark.container)

    def load(self, spark: Spark, images: Sequence[str]) -> None:
        """Copy images from the outer engine into the one on the host."""
        client, environment = self.engine.client, self.engine.environment
        save = subprocess.Popen([client, "save", *images], stdout=subprocess.PIPE, env=environment)
        with save:
            loaded = subprocess.run(
                [client, "exec", "-i", spark.container, "docker", "load", "--quiet"],
                stdin=save.stdout,
                capture_output=True,
                text=True,
                env=environment,
                timeout=LOADS_WITHIN_S,
                check=False,
            )
        if save.returncode or loaded.returncode:
            raise DockerError(f"{spark.name}: loading {images}: {loaded.stdout}{loaded.stderr}")


@contextmanager
def running_fleet(engine: Engine) -> Iterator[Fleet]:
    """Start SPEECH_FLEET_SIZE hosts, two by default; whatever happens, nothing of them stays."""
    size = int(os.environ.get("SPEECH_FLEET_SIZE", "2"))
    images = fleet_images(engine)
    with _claimed_run(engine) as (run, folder):
        engine.run("network", "create", "--label", f"{LABEL}={run}", run)
        make_key(folder / "client_key")
        (folder / "cp").mkdir()
        fleet = Fleet(engine=engine, images=images, run=run, folder=folder)
        with ThreadPoolExecutor(size) as pool:
            names = [f"spark{number}" for number in range(1, size + 1)]
            fleet.sparks.extend(pool.map(fleet.start, names))
        try:
            yield fleet
        finally:
            _hang_up(folder / "cp")


@contextmanager
def _claimed_run(engine: Engine) -> Iterator[tuple[str, Path]]:
    """A new run's name and folder, locked; what it made goes at the end."""
    runs = fleet_folder() / "runs"
    runs.mkdir(exist_ok=True)
    run = f"speech-{secrets.token_hex(4)}"
    folder = runs / run
    with contextlib.ExitStack() as stack:
        with locked(runs.parent / "runs.lock"):
            _sweep(engine, runs)
            folder.mkdir(mode=0o700)
            lock = stack.enter_context((folder / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        stack.callback(_remove, engine, folder)
        yield run, folder


def _sweep(engine: Engine, runs: Path) -> None:
    """Remove what runs left that no longer live: nobody holds the lock of their folder."""
    for folder in runs.iterdir():
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _remove(engine, folder)


def _remove(engine: Engine, folder: Path) -> None:
    """Remove a run's containers, volumes and network, then its folder."""
    mine = ("--filter", f"label={LABEL}={folder.name}")
    containers = engine.lines("ps", "--all", "--quiet", *mine)
    if containers:
        # Unmounting waits until the disk has taken all that is still to be written.
        engine.run("rm", "--force", "--volumes", *containers, timeout=REMOVES_WITHIN_S)
    for kind in ("volume", "network"):
        left = engine.lines(kind, "ls", "--quiet", *mine)
        if left:
            engine.run(kind, "rm", *left)
    shutil.rmtree(folder)


def _hang_up(sockets: Path) -> None:
    """End the ssh connections that Ansible keeps open for its next run."""
    for socket in sockets.iterdir():
        command = ["ssh", "-F", "none", "-O", "exit", "-o", f"ControlPath={socket}", "fleet"]
        subprocess.run(command, stderr=subprocess.DEVNULL, timeout=10, check=False)

"""The service of the tests of faults: two megabytes, built in a second, healthy when told so."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.fleet.fleet import Fleet
from tests.fleet.playbooks import Playbooks, Result
from tests.fleet.spark import Spark

NAME = "tiny"
PORT = 18_000
READY = '{"status": "ready"}\n'
LOADING = '{"status": "loading"}\n'


@dataclass(frozen=True)
class TinyService:
    """Runs playbooks/service.yml for one service on one host."""

    fleet: Fleet
    playbook: Playbooks
    spark: Spark
    folder: Path
    """Holds its build context and what control registers."""

    @property
    def registration(self) -> Path:
        """The file that control has of it."""
        return self.folder / "services.d" / f"{NAME}.json"

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.spark.address}:{PORT}"

    def variables(self, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON holds
        """What describes the service."""
        return {
            "service_host": self.spark.name,
            "speech_services_dir": str(self.folder / "services.d"),
            "managed_service_name": NAME,
            "managed_service_container": NAME,
            "managed_service_port": PORT,
            "managed_service_key": True,
            "managed_service_sources": str(self.folder),
            "managed_service_health_expect": {"status": "ready"},
            "managed_service_start_timeout_s": 30,
            "managed_service_build": {
                "name": NAME,
                "arguments": {"BASE_IMAGE": self.fleet.images.tiny},
            },
            "managed_service_run": {
                "port": 8000,
                "memory": "64m",
                "read_only": True,
                "caches": {"tiny-cache": "/cache"},
            },
            **changed,
        }

    def run(self, *arguments: str, **changed: Any) -> Result:  # noqa: ANN401
        """Run the playbook to its end."""
        return self.playbook("service", *arguments, **self.variables(**changed))

    def says(self, health: str) -> None:
        """What the next image answers at /health."""
        (self.folder / "images" / NAME / "health").write_text(health)

    def answer(self) -> dict[str, Any]:
        """What it says now."""
        body: dict[str, Any] = requests.get(f"{self.url}/health", timeout=10).json()
        return body

    def containers(self) -> dict[str, str]:
        """The containers of the host by name, and their images."""
        lines = self.spark.docker("ps", "--all", "--format", "{{.Names}} {{.Image}}").splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def inspected(self) -> dict[str, Any]:
        """What Docker knows of the container."""
        found: list[dict[str, Any]] = json.loads(self.spark.docker("inspect", NAME))
        return found[0]

    def runs(self) -> bool:
        """Whether there is a container of its name, and it runs."""
        named = ("ps", "--filter", f"name=^{NAME}$", "--format", "{{.State}}")
        return self.spark.docker(*named) == "running\n"

    def images(self) -> set[str]:
        """The tags that were built for it."""
        listed = self.spark.docker("images", "--format", "{{.Tag}}", f"spark-speech/{NAME}")
        return set(listed.split())

    def left(self) -> str:
        """What of it is on the host."""
        return self.spark.ssh(
            "docker ps -aq; docker volume ls -q; docker images -q spark-speech/tiny; "
            "find ~/.spark-speech -type f 2>/dev/null || true; "
            "pgrep -fa '[d]ocker build' || true"
        ).stdout

    def half_done(self) -> str:
        """What no run may leave, be it good or bad: secrets and a cache of no container, too."""
        kept = f"docker ps -aq --filter name=^{NAME}$ | grep -q ."
        return self.spark.ssh(
            f"docker ps -a --format {{{{.Names}}}} | grep -vx {NAME}; pgrep -fa '[d]ocker build'; "
            "cd ~/.spark-speech 2>/dev/null && find . -name '*.new.*' -o -name '*lock.json' "
            f"-o -path '*/build/input' -o -path './aside/*'; {kept} || ls -d {NAME}/secrets; true"
        ).stdout

    def clear(self) -> None:
        """Take everything away without a playbook, which takes longer and is another test's."""
        self.spark.ssh(
            "pkill -KILL -f '[d]ocker build'; "
            "docker ps -aq | xargs -r docker rm --force --volumes; "
            "docker volume ls -q | xargs -r docker volume rm; "
            f"docker images -q spark-speech/{NAME} | xargs -r docker rmi --force; "
            "rm -rf ~/.spark-speech"
        )
        for file in self.registration.parent.glob("*"):
            file.unlink()


def make_tiny_service(fleet: Fleet, playbook: Playbooks, spark: Spark, folder: Path) -> TinyService:
    """A service with a build context of its own in FOLDER."""
    shutil.copytree(Path(__file__).parent / "contexts" / "images", folder / "images")
    return TinyService(fleet, playbook, spark, folder)

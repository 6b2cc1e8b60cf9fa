"""The page as its container runs it: gateway, dispatcher and watch process under a supervisor.

It knows no host and no service. What its owner has written down is what any host here needs: where
packages come from, and a model that is no download.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from proxy_app.store import Job
from tests.fleet.playbooks import ROOT
from tests.fleet.spark import Spark
from tests.jobs.house import House, eventually, settings
from tests.jobs.web import free_port
from tests.site.site import Site

SUPERVISED = ROOT / "images/control/supervisord.conf"
STANDINS = ROOT / "tests/standins"
CONTAINER = "whisperx-asr"
CACHE = "/var/cache/speech"
SPEAKERS = "/api/audio/transcribe-with-speakers"
PATIENCE_S = 900.0
"""The image is built meanwhile; it only ends a test that has failed."""


@dataclass(frozen=True)
class Control:
    """A fresh control host, and the Spark that it is going to know."""

    house: House
    url: str
    spark: Spark
    site: Site

    def tell(self, **changed: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        """Write the owner's inventory: variables for all hosts, and no host."""
        known = json.loads(self.site.inventory.read_text())["all"]["vars"]
        del known["speech_services_dir"]  # that of the playbooks that are run by hand
        inventory = {"all": {"hosts": {}, "vars": known | changed}}
        Path(self.house.environ["SPEECH_INVENTORY"]).write_text(json.dumps(inventory))

    def order_a_standin(self) -> None:
        """From now on, what is built as WhisperX is the stand-in for its server."""
        sources = self.house.state.parent / "sources"
        image = sources / "images/whisperx"
        shutil.copytree(STANDINS / "whisperx_image", image)
        shutil.copy(STANDINS / "engine_process.py", image)
        base = self.site.fleet.images.magpie  # which has Python
        self.tell(speech_sources=str(sources), speech_base_image=base, speech_wheelhouse="")

    # What is asked of it, and what it answers.

    def transcribe(self, audio: Path) -> requests.Response:
        with audio.open("rb") as file:
            return requests.post(self.url + SPEAKERS, files={"file": file}, timeout=300)

    def shown(self) -> dict[str, Any]:
        shown: dict[str, Any] = requests.get(f"{self.url}/api/services/whisperx", timeout=30).json()
        return shown

    def log(self, job_id: str) -> list[str]:
        """A job's log, as it is downloaded."""
        answer = requests.get(f"{self.url}/api/jobs/{job_id}/log", timeout=30)
        return answer.text.rstrip("\n").split("\n")

    def restarts(self) -> list[Job]:
        """The restarts that the watch process has ordered, the newest first."""
        ours = (Job.kind == "service.restart", Job.by == "the watch process")
        return list(self.house.room.jobs.history(*ours))

    # The container on the Spark.

    def inspected(self) -> dict[str, Any]:
        (found,) = json.loads(self.spark.docker("inspect", CONTAINER))
        return dict(found)

    def build(self) -> str:
        """The process that builds on the host."""
        return self.spark.ssh("pgrep -o -f '[d]ocker build '", check=False).stdout

    def make(self, *names: str) -> None:
        """Let the stand-in misbehave; engine_process.py has what it can do."""
        self.spark.docker("exec", CONTAINER, "touch", *(f"{CACHE}/{name}" for name in names))

    def uploads(self) -> list[str]:
        """Who sent the stand-in recordings since this was asked last: `client` or `probe`."""
        taken = f"cd {CACHE}; if [ -e uploads ]; then cat uploads; rm uploads; fi"
        said = self.spark.docker("exec", CONTAINER, "sh", "-c", taken)
        return [line.split()[1] for line in said.splitlines()]

    def told(self) -> str:
        """All that may explain a failure."""
        return (self.house.state / "supervised.log").read_text()[-5000:]


@contextmanager
def running_control(site: Site, spark: Spark, folder: Path) -> Iterator[Control]:
    """Start all three processes as images/control/start.sh does, for this machine's user alone."""
    port = free_port()
    known = settings(
        folder,
        SPEECH_PROJECT_DIR=str(ROOT),
        SPEECH_INVENTORY=str(folder / "inventory.json"),
        SPEECH_PORT=str(port),
        SPEECH_WORKERS="1",
    )
    known["PATH"] = f"{ROOT / '.venv/gateway/bin'}:{known['PATH']}"
    house = House(known)
    control = Control(house, f"http://127.0.0.1:{port}", spark, site)
    control.tell()
    pid = folder / "supervisord.pid"
    command = ["supervisord", "--configuration", str(SUPERVISED), "--pidfile", str(pid)]
    with (house.state / "supervised.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=known, stdout=log, stderr=log)
    try:
        assert eventually(lambda: process.poll() is not None or _lives(control)), control.told()
        yield control
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        house.room.close()


def _lives(control: Control) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{control.url}/livez", timeout=10).ok
    return False

"""All that `up` starts, but for the engine, which a stand-in is."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from proxy_app.jobs.states import ACTIVE
from proxy_app.services import Registry, Reports, Service
from proxy_app.store import Job
from proxy_app.supervision import ENGINE, supervisor
from proxy_app.watch.clip import CLIP
from proxy_app.watch.records import Records
from tests.jobs.house import ROOT, House, eventually, settings
from tests.jobs.supervised import supervised
from tests.jobs.web import Web, serving

WATCH = [sys.executable, "-m", "proxy_app.watch"]
FAULTS = (
    "wedged", "wedged-for-good", "deaf", "frozen", "loads-long", "broken", "one-500", "long",
    "stuck", "tells-nothing",
)  # fmt: skip
SPEAKERS = "/api/audio/transcribe-with-speakers"


@dataclass
class Installation:
    """What runs, and what a test does with it."""

    folder: Path
    house: House
    socket: Path
    web: Web = field(init=False)
    watch: "subprocess.Popen[bytes]" = field(init=False)

    # The engine.

    @property
    def engine(self) -> Service:
        (service,) = Registry(self.house.room.config).read().services
        return service

    def engine_pid(self) -> int:
        with supervisor(self.socket) as rpc:
            pid: int = rpc.supervisor.getProcessInfo(ENGINE)["pid"]
        return pid

    def make(self, *names: str) -> None:
        """Let the engine misbehave: wedged, deaf, frozen..."""
        for name in names:
            (self.folder / name).touch()

    def mend(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def uploads(self, who: str) -> list[float]:
        """When recordings came to the engine from a `client` or a `probe`, in Unix seconds."""
        file = self.folder / "uploads"
        lines = file.read_text().splitlines() if file.exists() else []
        return [float(line.split()[0]) for line in lines if line.endswith(who)]

    # Clients.

    def transcribe(self, recording: bytes | None = None, prompt: str = "") -> requests.Response:
        files = {"file": ("a.wav", recording or CLIP.read_bytes(), "audio/wav")}
        data = {"prompt": prompt}
        return requests.post(self.web.url + SPEAKERS, data, files=files, timeout=60)

    def at_once(self, count: int) -> list[requests.Response]:
        with ThreadPoolExecutor(count) as pool:
            # The same of all would be one piece of work.
            return list(pool.map(lambda number: self.transcribe(None, str(number)), range(count)))

    # What is known.

    def shown(self) -> dict[str, Any]:
        shown: dict[str, Any] = self.web.get("/api/services/whisperx").json()
        return shown

    def is_in(self, *states: str) -> bool:
        return self.shown()["state"] in states

    def becomes(self, *states: str) -> dict[str, Any]:
        assert eventually(lambda: self.is_in(*states)), self.told()
        return self.shown()

    def restarts(self) -> list[Job]:
        """The restarts that the watch process has ordered, the newest first."""
        ours = (Job.kind == "service.restart", Job.by == "the watch process")
        return list(self.house.room.jobs.history(*ours))

    def active(self) -> list[Job]:
        return list(self.house.room.jobs.history(Job.state.in_(ACTIVE)))

    def told(self) -> str:
        """All that may explain a failure."""
        logs = [self.house.state / name for name in ("watch.log", "dispatcher.log")]
        text = "\n".join(log.read_text() for log in logs if log.exists())
        return f"{self.shown()}\n{[(job.state, job.why) for job in self.restarts()]}\n{text}"

    # The watch process.

    def start_watch(self, environ: Mapping[str, str] | None = None) -> None:
        """Start it, with more in its environment."""
        log = self.house.state / "watch.log"
        with log.open("ab") as output:
            self.watch = subprocess.Popen(
                WATCH,
                cwd=ROOT,
                env={**self.house.environ, **(environ or {})},
                stdout=output,
                stderr=output,
            )

    def kill_watch(self) -> None:
        self.watch.kill()
        self.watch.wait()

    def restart_watch(self, environ: Mapping[str, str] | None = None) -> None:
        self.kill_watch()
        self.start_watch(environ)
        assert eventually(Reports(self.house.state / "reports").is_watched), self.told()

    def reset(self) -> None:
        """All well, and nothing counted."""
        self.mend(*FAULTS)
        assert eventually(lambda: not self.active()), self.told()
        if not self.is_in("ready"):
            self.house.wait(self.house.room.desk.switch("restart", self.engine))
        self.becomes("ready")
        Records(self.house.room.store).forgive("whisperx")
        (self.folder / "uploads").unlink(missing_ok=True)
        for note in (self.house.state / "suspects").iterdir():
            note.unlink()
        with self.house.room.store.session() as session:
            session.query(Job).delete()


@contextlib.contextmanager
def installed(folder: Path, **more: str) -> Iterator[Installation]:
    """Start all of it."""
    with contextlib.ExitStack() as stack:
        socket, known = stack.enter_context(supervised(folder))
        house = House(settings(folder, SPEECH_WORKERS="2", **known, **more))
        stack.callback(house.room.close)
        found = Installation(folder, house, socket)
        stack.enter_context(house.dispatching())
        found.web = stack.enter_context(serving(house, SPEECH_WORKERS="2"))
        found.start_watch()
        stack.callback(lambda: found.watch.wait(30))
        stack.callback(lambda: found.watch.send_signal(signal.SIGTERM))
        assert eventually(lambda: found.shown()["last_check"]), found.told()
        yield found


def workers(web: Web) -> list[int]:
    """The pids of gunicorn's workers."""
    children = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def kill(pid: int) -> None:
    """As the kernel does when memory runs out."""
    os.kill(pid, signal.SIGKILL)

"""A control host of the tests' own: state, scenarios for playbooks, a dispatcher."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import update

from proxy_app.config import load_config
from proxy_app.jobs.desk import Room
from proxy_app.jobs.events import EventReader
from proxy_app.jobs.states import State
from proxy_app.store import Job

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Path(__file__).with_name("project")
DISPATCHER = [sys.executable, "-m", "proxy_app.jobs.dispatcher"]
PATIENCE_S = 90.0


def eventually(condition: Callable[[], object], within_s: float = PATIENCE_S) -> bool:
    """Whether the condition becomes true; the limit only ends a test that has failed."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@dataclass
class House:
    """Settings, and what is made of them."""

    environ: dict[str, str]
    room: Room = field(init=False)

    def __post_init__(self) -> None:
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.tmp.mkdir(mode=0o700, exist_ok=True)
        self.room = Room(load_config(self.environ))

    @property
    def state(self) -> Path:
        return Path(self.environ["SPEECH_STATE_DIR"])

    @property
    def tmp(self) -> Path:
        return Path(self.environ["TMPDIR"])

    def order(self, host: str, kind: str = "whisperx.install", **values: object) -> Job:
        return self.room.desk.order(kind, host=host, **values)  # type: ignore[arg-type]

    def now(self, job: Job) -> Job:
        return self.room.jobs.get(job.id)

    def wait(self, job: Job, *states: State) -> Job:
        """Wait until a job is in one of the states, or over."""

        def is_there() -> bool:
            state = State(self.now(job).state)
            return state in states or state.is_over

        assert eventually(is_there), self.now(job).state
        return self.now(job)

    def change(self, job: Job, **values: object) -> None:
        """Write into the database what only time or an accident would."""
        with self.room.store.session() as session:
            session.execute(update(Job).where(Job.id == job.id).values(**values))

    def wait_for_text(self, job: Job, text: str) -> None:
        assert eventually(lambda: text in self.text(job)), self.text(job)

    def events(self, job: Job) -> list[dict[str, Any]]:
        reader = EventReader(self.room.jobs.folder(job.id).events)
        try:
            return list(reader.rest())
        finally:
            reader.close()

    def text(self, job: Job) -> str:
        lines = (event["text"] for event in self.events(job) if event["event"] == "log")
        return "\n".join(lines)

    def worker(self, job: Job) -> int:
        """The pid of a job's process."""
        folder = self.room.jobs.folder(job.id)
        assert eventually(folder.holder)
        pid = folder.holder()
        assert pid is not None
        return pid

    def playbooks(self) -> list[int]:
        """Processes of this house that Ansible started, and ansible-playbook itself."""
        return processes(f"TMPDIR={self.tmp}".encode(), without=b"proxy_app")

    def shown(self) -> str:
        """The same, as text."""
        return "\n".join(f"{pid} {command_line(pid)}" for pid in self.playbooks())

    @contextlib.contextmanager
    def dispatching(self, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a dispatcher."""
        log = self.state / "dispatcher.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                DISPATCHER, cwd=ROOT, env={**self.environ, **settings}, stdout=output, stderr=output
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            assert eventually(lambda: not self.playbooks(), 20), self.shown()


def command_line(pid: int) -> str:
    """What a process was started as; empty when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def processes(mark: bytes, *, without: bytes) -> list[int]:
    """The processes with this in their environment, and without that in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if mark in (folder / "environ").read_bytes().split(b"\0") and without not in command:
                found.append(int(folder.name))
    return found


def settings(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a house in a folder."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "SPEECH_STATE_DIR": str(folder / "state"),
        "SPEECH_SERVICES_DIR": str(folder / "services.d"),
        "SPEECH_PROJECT_DIR": str(PROJECT),
        "SPEECH_INVENTORY": str(PROJECT / "inventory"),
        **more,
    }

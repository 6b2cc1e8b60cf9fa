"""A gateway with the process of its audio jobs, which tests start, stop and kill."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import select, update
from sqlalchemy import text as sql

from proxy_app.access.keys import Keys
from proxy_app.store import AudioJob, Store
from tests.api.conftest import REPOSITORY, Gateway, environment, eventually, running
from tests.api.recordings import canonical_wav

JOBS = "/v1/audio/jobs"
TEXT = "Hello. Good morning, all."
WAV = canonical_wav(5)


class Installation:
    """A gateway, and the process of its audio jobs."""

    def __init__(self, gateway: Gateway, settings: dict[str, str]) -> None:
        self.gateway = gateway
        self.environment = environment(gateway.state, gateway.port, **settings)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: str) -> "subprocess.Popen[bytes]":
        """Begin to work; `settings` are of this process alone."""
        log = (self.gateway.state / "audio.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "proxy_app.audio_jobs"],
                cwd=REPOSITORY, env=self.environment | settings, stdout=log, stderr=log,
            )  # fmt: skip
        return self.process

    def end(self, number: int = signal.SIGTERM) -> None:
        """Tell the process to end, or kill it, and wait until it has."""
        if self.process is not None:
            self.process.send_signal(number)
            assert self.process.wait(30) == (0 if number == signal.SIGTERM else -number)
            self.process = None

    def ask(
        self, wav: bytes = WAV, headers: dict[str, str] | None = None, /, **fields: str
    ) -> requests.Response:
        files = {"file": ("a.wav", wav, "application/octet-stream")}
        url = self.gateway.url + JOBS
        return requests.post(url, fields, files=files, headers=headers, timeout=20)

    def made(self, wav: bytes = WAV, /, **fields: str) -> str:
        response = self.ask(wav, None, **fields)
        assert response.status_code == 202, response.text
        job: str = response.json()["id"]
        return job

    def get(self, path: str = "", **headers: str) -> requests.Response:
        return self.gateway.get(f"{JOBS}{path}", **headers)

    def delete(self, job: str, **headers: str) -> int:
        url = f"{self.gateway.url}{JOBS}/{job}"
        return requests.delete(url, headers=headers, timeout=20).status_code

    def logs(self, what: str) -> bool:
        """Whether the process comes to say that."""
        log = self.gateway.state / "audio.log"
        return eventually(lambda: what in log.read_text(), 30)

    def becomes(self, job: str, *states: str) -> dict[str, Any]:
        assert eventually(lambda: self.get(f"/{job}").json()["status"] in states, 30), self.get(
            f"/{job}"
        ).text
        found: dict[str, Any] = self.get(f"/{job}").json()
        return found

    def folders(self) -> list[Path]:
        return list((self.gateway.state / "audio-jobs").iterdir())

    def change(self, job: str, **values: object) -> None:
        """What hours would, or a process that is no more."""
        with contextlib.closing(Store(None, self.gateway.state)) as store, store.session() as it:
            it.execute(update(AudioJob).where(AudioJob.id == job).values(**values))

    @contextlib.contextmanager
    def refusing(self, when: str, what: str = "UPDATE") -> Iterator[None]:
        """The database takes no change of a job for which that is true, as on a full disk."""
        trigger = f"BEFORE {what} ON audio_jobs WHEN {when} BEGIN SELECT RAISE(ABORT, 'full'); END"
        with contextlib.closing(Store(None, self.gateway.state)) as store:
            with store.session() as session:
                session.execute(sql(f"CREATE TRIGGER refusing {trigger}"))
            try:
                yield
            finally:
                with store.session() as session:
                    session.execute(sql("DROP TRIGGER refusing"))

    def row(self, job: str) -> AudioJob:
        with contextlib.closing(Store(None, self.gateway.state)) as store, store.session() as it:
            return it.scalars(select(AudioJob).where(AudioJob.id == job)).one()


@contextlib.contextmanager
def installed(state: Path, upstream: int, **settings: str) -> Iterator[Installation]:
    """One job is worked on at a time, of few; no process works on them yet."""
    settings |= {
        "WHISPERX_HOST": "127.0.0.1",
        "WHISPERX_PORT": str(upstream),
        "SPEECH_AUDIO_JOBS_AT_ONCE": "1",
        "SPEECH_AUDIO_JOBS_PER_KEY": "3",
        "SPEECH_AUDIO_JOBS_QUEUED": "5",
    }
    with running(state, upstream, **settings) as gateway:
        yield Installation(gateway, settings)


def key_of(house: Installation, name: str) -> dict[str, str]:
    with contextlib.closing(Store(None, house.gateway.state)) as store:
        key, _ = Keys(store).make(name)
    sent = {"Authorization": f"Bearer {key}"}
    for _ in range(3):  # by each of the workers
        assert eventually(lambda: house.get(**sent).ok, 20)
        time.sleep(0.4)
    return sent

"""The process that starts jobs: `python -m proxy_app.jobs.dispatcher`. There is one.

It takes what is queued, starts a worker for each, marks what has lost its worker, and ends what is
overdue and does not end by itself. It may die at any moment: the workers go on, and the next one
finds everything in the database and in the locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO

from sqlalchemy.exc import SQLAlchemyError

from proxy_app.config import Config
from proxy_app.daemon import work
from proxy_app.jobs.desk import Room
from proxy_app.jobs.kinds import INSTALLS
from proxy_app.jobs.ledger import HOST, PREVIEW, SERVICE, Claimed
from proxy_app.jobs.processes import end_tree
from proxy_app.jobs.states import State
from proxy_app.store import Job
from proxy_app.telemetry import Metrics, shared
from proxy_app.telemetry.of_jobs import CountedEnds

log = logging.getLogger(__name__)

_LOOK_S = 0.2
_CLEAN_S = 3600.0
_OVERDUE_S = 120.0
"""How long after its limit a worker has to end its job by itself."""
_ORPHANED_S = 10.0
"""How long a playbook whose process was killed has to end what it has begun."""
_DRAIN_S = 30.0
_WITHOUT_DATABASE_S = 2.0


class Dispatcher:
    """Starts the workers of queued jobs, a bounded number at the same time."""

    def __init__(self, config: Config) -> None:
        self._room = Room(config)
        self._jobs = self._room.jobs
        self._workers: list[subprocess.Popen[bytes]] = []
        self._ends = threading.Event()
        self._seen: dict[str, float] = {}
        """When a running job was seen first."""
        self._orphaned: dict[str, float] = {}
        """When a job was seen first whose playbook has outlived its process."""
        self._clean_at = 0.0

    def stop(self, *_signal: object) -> None:
        """End after this round."""
        self._ends.set()

    def run(self) -> None:
        """Work until `stop`; then end the jobs, which say so. Another dispatcher goes first."""
        with (self._room.config.state_dir / "dispatcher.lock").open("w") as lock:
            while not _taken(lock):
                if self._ends.wait(_LOOK_S):
                    return
            self._work()
            self._drain()

    def _work(self) -> None:
        shared.join(self._room.config.state_dir / "metrics", "dispatcher")
        self._ended = CountedEnds(self._jobs, Metrics())
        is_away = False
        while not self._ends.wait(_WITHOUT_DATABASE_S if is_away else _LOOK_S):
            try:
                self._round()
                is_away = False
            except (SQLAlchemyError, OSError) as error:
                if not is_away:
                    log.error("no jobs can be started: %s", _words(error))  # noqa: TRY400
                is_away = True

    def _round(self) -> None:
        self._ended.look()
        running = self._jobs.settle()
        for job in running:
            self._end_if_overdue(job)
            self._end_if_orphaned(job)
        for lane in (HOST, SERVICE, PREVIEW):
            # Each lane has its places: no number of builds keeps a restart waiting.
            room = self._room.config.jobs_at_once - sum(job.lane == lane for job in running)
            for claimed in self._jobs.claim(lane, room):
                self._start(claimed)
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        if time.monotonic() >= self._clean_at:
            self._clean_at = time.monotonic() + _CLEAN_S
            active = {job.id for job in running}
            self._seen = {id_: seen for id_, seen in self._seen.items() if id_ in active}
            self._orphaned = {id_: at for id_, at in self._orphaned.items() if id_ in active}
            config = self._room.config
            self._jobs.forget(
                keep_days=config.keep_jobs_days, keep=config.keep_jobs, bases=INSTALLS
            )

    def _start(self, claimed: Claimed) -> None:
        job = claimed.job
        command = [sys.executable, "-m", "proxy_app.jobs.worker", job.id, str(claimed.lock)]
        try:
            with open(claimed.folder.output, "ab", opener=_for_us_alone) as output:
                worker = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    start_new_session=True, pass_fds=[claimed.lock],
                )  # fmt: skip
            self._workers.append(worker)
            log.info("job %d (%s on %s) has pid %d", job.number, job.kind, job.host, worker.pid)
        except OSError as error:
            log.error("job %d cannot be started: %s", job.number, error)  # noqa: TRY400
            said = f"Its process cannot be started: {error.strerror}."
            self._jobs.finish(job.id, State.FAILED, said)
        finally:
            os.close(claimed.lock)

    def _end_if_overdue(self, job: Job) -> None:
        """Kill a worker that does not look after its own time limit, stopped or stuck."""
        # By a clock that does not jump; a dispatcher that was started anew waits that much longer.
        seen = self._seen.setdefault(job.id, time.monotonic())
        overdue = time.monotonic() - seen > job.limit_s + _OVERDUE_S
        holder = self._jobs.folder(job.id).holder() if overdue else None
        if holder:
            log.error("job %d is overdue; its process %d is killed", job.number, holder)
            end_tree(holder)

    def _end_if_orphaned(self, job: Job) -> None:
        """Kill a playbook that has heard of its process's end, and does not end."""
        folder = self._jobs.folder(job.id)
        if folder.is_held():
            return
        since = self._orphaned.setdefault(job.id, time.monotonic())
        if time.monotonic() - since > _ORPHANED_S:
            log.error("job %d: its playbook goes on without its process, and is killed", job.number)
            for pid in folder.playbooks():
                end_tree(pid)

    def _drain(self) -> None:
        """Tell all workers, also those that another dispatcher has started, and wait for them."""
        until = time.monotonic() + _DRAIN_S
        told: set[int] = set()
        while (pids := set(self._jobs.holders())) and time.monotonic() < until:
            for pid in pids - told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            told |= pids
            time.sleep(_LOOK_S)


def _taken(lock: IO[str]) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _words(error: Exception) -> str:
    """What is wrong, without what was sent: a URL of a database may hold a password."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"


if __name__ == "__main__":
    sys.exit(work("The dispatcher", Dispatcher))

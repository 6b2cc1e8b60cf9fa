"""The process of one job: `python -m proxy_app.jobs.worker JOB LOCK`.

The dispatcher starts it, in a session of its own, with the descriptor of the job's lock. It looks
after time limits, cancels and phases, while a thread does the job; when it dies, so does the job's
playbook, and whoever looks finds the lock free.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
import time
from functools import partial
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from proxy_app import log_lines
from proxy_app.config import Config, load_config
from proxy_app.jobs.desk import Room
from proxy_app.jobs.events import EventWriter
from proxy_app.jobs.kinds import KINDS, PLAYBOOK
from proxy_app.jobs.ledger import Jobs
from proxy_app.jobs.project import ProjectError
from proxy_app.jobs.secrets import Secrets, Seen
from proxy_app.jobs.states import State
from proxy_app.jobs.work import Executor, Outcome, Phases
from proxy_app.store import Job

log = logging.getLogger(__name__)

GRACE_S = 10.0
"""How long what is told to stop has, before it is killed with all below it."""
_GIVE_UP_S = 60.0
_LOOK_S = 0.5
_TELL_WITHIN_S = 300.0
_SHUT_DOWN = (
    "The control app was stopped, and the job with it; the same job again goes on from there."
)


class Worker:
    """Does one job and says how it ended."""

    def __init__(self, config: Config, job_id: str) -> None:
        self._room = Room(config)
        self._jobs = self._room.jobs
        self._job = self._jobs.get(job_id)
        self._folder = self._jobs.folder(job_id)
        self._secrets = self._room.secrets
        self._events = EventWriter(self._folder.events, Seen(self._secrets))
        self._phases = Phases(self._events)
        self._noted: list[dict[str, Any]] = []
        self._due = time.monotonic() + self._job.limit_s
        self._shut_down = False

    def shut_down(self, *_signal: object) -> None:
        """The control app stops: end the job and say so."""
        self._shut_down = True

    def run(self) -> None:
        """Do the job."""
        try:
            outcome = self._look_after(self._executor())
        except Exception as error:
            log.exception("the job could not be done")
            outcome = Outcome(State.FAILED, sentence(error))
        self._phases.end(outcome.state)
        if self._events.dropped:
            log.error("%d events could not be written", self._events.dropped)
        self._events.close()
        self._tell(outcome)

    def _executor(self) -> Executor:
        # What is not needed for this job is slow to import.
        if self._job.executor == PLAYBOOK:
            from proxy_app.jobs.playbook import Playbook  # noqa: PLC0415

            return Playbook(
                self._job,
                playbook=KINDS[self._job.kind].playbook,
                variables=variables(self._job, self._secrets),
                project=self._room.project,
                folder=self._folder,
                installation=self._room.installation(),
                events=self._events,
                phases=self._phases,
            )
        from proxy_app.jobs.engine import Engine  # noqa: PLC0415
        from proxy_app.services import Registry  # noqa: PLC0415
        from proxy_app.upstreams import Client, Probe  # noqa: PLC0415

        config = self._room.config
        services = Registry(config).read().services
        service = next((it for it in services if it.name == self._job.service), None)
        if service is None:
            raise ProjectError(f"{self._job.service} is not registered any more.")
        assert config.engine_supervisor is not None, "the desk has looked"
        return Engine(
            self._job.kind.partition(".")[2],
            socket=config.engine_supervisor,
            health=partial(Probe(Client()), service),
            events=self._events,
            phases=self._phases,
        )

    def _look_after(self, executor: Executor) -> Outcome:
        """Wait for the job's end, and bring it about where it is asked for or overdue."""
        ends: list[Outcome] = []
        thread = threading.Thread(target=_run, args=(executor, ends), daemon=True)
        # Only the worker's own memory has the rest of the environment from here on.
        environment = self._room.project.environment(os.environ)
        os.environ.clear()
        os.environ.update(environment)
        thread.start()
        wanted: Outcome | None = None
        since = 0.0
        while thread.is_alive():
            thread.join(_LOOK_S)
            self._note()
            job = self._now()
            if wanted is None and (wanted := self._wanted(job)):
                since = time.monotonic()
                self._events.log(wanted.reason)
                executor.stop(force=False)
            waited = time.monotonic() - since
            if wanted and (job.force or waited > GRACE_S):
                executor.stop(force=True)
            if wanted and waited > _GIVE_UP_S:
                break
        outcome = ends[0] if ends else Outcome(State.FAILED, "It did not stop when it was told to.")
        return outcome if wanted is None or outcome.state is State.SUCCEEDED else wanted

    def _wanted(self, job: Job) -> Outcome | None:
        """The end that somebody wants, if one is wanted."""
        if job.state == State.CANCELING:
            return Outcome(State.CANCELED, job.reason.partition(";")[0] + ".")
        if time.monotonic() > self._due:
            return Outcome(
                State.TIMED_OUT, f"It took longer than the {job.limit_s:g} s that it may take."
            )
        if self._shut_down:
            return Outcome(State.CANCELED, _SHUT_DOWN)
        return None

    def _now(self) -> Job:
        """The job as the database has it; a database that is away is asked again next time."""
        try:
            self._job = self._jobs.get(self._job.id)
        except SQLAlchemyError as error:
            log.warning("the database does not answer: %s", type(error).__name__)
        return self._job

    def _note(self) -> None:
        phases = self._phases.as_list()
        if phases == self._noted:
            return
        try:
            self._jobs.note(self._job.id, phases)
            self._noted = phases
        except SQLAlchemyError as error:
            log.warning("the database does not answer: %s", type(error).__name__)

    def _tell(self, outcome: Outcome) -> None:
        tell(self._jobs, self._job.id, outcome, phases=self._phases.as_list())


def tell(jobs: Jobs, job_id: str, outcome: Outcome, **values: object) -> None:
    """Write down the end, however long the database is away; else the job would look lost."""
    until = time.monotonic() + _TELL_WITHIN_S
    while True:
        try:
            if outcome.state is State.CANCELED:  # not by somebody who has said so already
                jobs.finish(job_id, State.CANCELING, outcome.reason)
            jobs.finish(job_id, outcome.state, outcome.reason, **values)
        except SQLAlchemyError as error:
            if time.monotonic() > until:
                raise
            log.warning("the database does not answer: %s", type(error).__name__)
            time.sleep(1)
        else:
            return


def sentence(error: Exception) -> str:
    """What people are told of an error that ends a job; its worker.log has the rest."""
    match error:
        case ProjectError():
            return str(error)
        case SQLAlchemyError():
            return "The database of jobs did not answer; the job's worker.log has the reason."
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return "The control app's disk is full: make room, and do the same job again."
        case OSError(strerror=str(why), filename=file):
            return f"The control app cannot use {file or 'a file'}: {why}."
    name = type(error).__name__
    return f"Something went wrong in the job's own process ({name}); its worker.log has more."


def variables(job: Job, secrets: Secrets) -> dict[str, Any]:
    """All that a job's playbook is given: of secrets, where they lie."""
    kind = KINDS[job.kind]
    paths = {name: secrets.path(secret) for name, secret in kind.secrets.items()}
    return {
        **job.variables,
        **{name: str(path) for name, path in paths.items() if path},
        **kind.fixed,
        "speech_by": f"job {job.number} of the page",
    }


def _run(executor: Executor, ends: list[Outcome]) -> None:
    try:
        ends.append(executor.run())
    except Exception as error:
        log.exception("the job could not be done")
        ends.append(Outcome(State.FAILED, sentence(error)))


def main(job_id: str, lock: int) -> int:
    """Do a job whose lock is this descriptor."""
    log_lines.begin(logging.WARNING)
    os.set_inheritable(lock, False)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    config = load_config(os.environ)
    try:
        worker = Worker(config, job_id)
    except Exception as error:
        log.exception("the job could not be begun")
        tell(Room(config).jobs, job_id, Outcome(State.FAILED, sentence(error)))
        return 1
    signal.signal(signal.SIGTERM, worker.shut_down)
    signal.signal(signal.SIGINT, worker.shut_down)
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))

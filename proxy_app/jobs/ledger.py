"""All jobs, in the database: asked for, claimed, canceled, over, forgotten.

Every change of state is one UPDATE that names the states it may come from, so that two processes
cannot both make it, and the database itself refuses a second active job (store/models.py).
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, false, func, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from proxy_app.jobs.folders import JobFolder
from proxy_app.jobs.states import ACTIVE, WORKED_ON, State
from proxy_app.jobs.work import ended
from proxy_app.store import Job, Store

HOST, SERVICE, PREVIEW = "host", "service", "preview"
"""The lanes: a build takes a host, a service job a service, and a preview neither."""

LOST = (
    "Nothing runs this job any more: its process was killed, or the machine went down. What it had"
    " done on the host by then stays done; the same job again goes on from there."
)
_TRIES = 5


class ActiveJobError(Exception):
    """Another job has the host or the service; it is in `job`."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"job {job.number} is {job.state}")
        self.job = job


class NoJobError(Exception):
    """There is no job of that name, or no longer."""


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks for, checked."""

    kind: str
    executor: str
    host: str
    service: str
    target: str
    lane: str
    variables: dict[str, Any]
    limit_s: float
    preview: bool = False
    by: str = "the API"
    why: str = ""
    rerun_of: str | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that is to be started now, and the descriptor of its lock."""

    job: Job
    folder: JobFolder
    lock: int


class Jobs:
    """The jobs of one control host.

    Args:
        store: the database.
        root: the folder of the jobs' folders.
    """

    def __init__(self, store: Store, root: Path) -> None:
        self._store = store
        self._root = root

    def folder(self, job_id: str) -> JobFolder:
        """The files of a job."""
        return JobFolder(self._root / job_id)

    # Asking.

    def add(self, order: Order) -> Job:
        """Put a job into the queue.

        Raises:
            ActiveJobError: another one has the host or the service.
        """
        for _ in range(_TRIES):
            try:
                with self._store.session() as session:
                    job = Job(
                        id=secrets.token_hex(8),
                        state=State.QUEUED,
                        phases=[],
                        created_at=time.time(),
                        **{name: getattr(order, name) for name in Order.__slots__},
                    )
                    session.add(job)
            except IntegrityError:
                other = self._in_the_way(order)
                if other is not None and not self._is_lost(other):
                    raise ActiveJobError(other) from None
            else:
                return job
        raise RuntimeError("the jobs in the way ended as fast as they were asked for")

    def cancel(self, job_id: str, *, force: bool = False, by: str = "the API") -> Job:
        """Ask for the end of a job; one that is over stays as it is.

        Raises:
            NoJobError: there is none.
        """
        said = f"Canceled by {by}"
        with self._store.session() as session:
            if not _move(session, job_id, State.CANCELED, f"{said} before it began.", State.QUEUED):
                _move(session, job_id, State.CANCELING, f"{said}; it is being stopped.")
            if force:
                active = (Job.id == job_id, Job.state.in_(ACTIVE))
                session.execute(update(Job).where(*active).values(force=True))
        return self.get(job_id)

    # Looking.

    def get(self, job_id: str) -> Job:
        """One job; it is marked lost where that is found.

        Raises:
            NoJobError: there is none.
        """
        job = self._read(job_id)
        return self._read(job_id) if self._is_lost(job) else job

    def _read(self, job_id: str) -> Job:
        with self._store.session() as session:
            job = session.scalar(select(Job).where(Job.id == job_id))
        if job is None:
            raise NoJobError(job_id)
        return job

    def history(
        self, *where: ColumnElement[bool], before: int | None = None, limit: int = 50
    ) -> Sequence[Job]:
        """Jobs, the newest first: those before a number, and as many as `limit`."""
        self.settle()
        chosen = select(Job).where(*where).order_by(Job.number.desc()).limit(limit)
        if before is not None:
            chosen = chosen.where(Job.number < before)
        with self._store.session() as session:
            return session.scalars(chosen).all()

    def counts(self) -> dict[str, int]:
        """How many jobs are kept, by their states."""
        chosen = select(Job.state, func.count()).group_by(Job.state)
        with self._store.session() as session:
            return {row[0]: row[1] for row in session.execute(chosen)}

    def active(self) -> frozenset[str]:
        """The ids of those that are not over."""
        with self._store.session() as session:
            return frozenset(session.scalars(select(Job.id).where(Job.state.in_(ACTIVE))))

    def states_of(self, ids: Collection[str]) -> list[str]:
        """The states of these jobs, of those that are still kept."""
        if not ids:
            return []
        with self._store.session() as session:
            return list(session.scalars(select(Job.state).where(Job.id.in_(ids))))

    def last(self, *where: ColumnElement[bool]) -> Job | None:
        """The newest of these jobs."""
        return next(iter(self.history(*where, limit=1)), None)

    # Running.

    def claim(self, lane: str, room: int) -> Iterator[Claimed]:
        """Take the oldest queued jobs of a lane, at most `room`; the dispatcher alone does this."""
        with self._store.session() as session:
            queued = session.scalars(
                select(Job).where(Job.state == State.QUEUED, Job.lane == lane)
                .order_by(Job.number).limit(max(0, room))
            ).all()  # fmt: skip
        for job in queued:
            folder = self.folder(job.id)
            lock = folder.take()
            if lock is None:
                continue
            if self._started(job.id):
                yield Claimed(job, folder, lock)
            else:
                os.close(lock)

    def _started(self, job_id: str) -> bool:
        with self._store.session() as session:
            return _move(session, job_id, State.RUNNING, "", started_at=time.time())

    def finish(self, job_id: str, state: State, reason: str, **values: object) -> bool:
        """Say how a job ended; False where that is known already."""
        with self._store.session() as session:
            return _move(session, job_id, state, reason, **values)

    def note(self, job_id: str, phases: list[dict[str, Any]]) -> None:
        """Write down how far a job is."""
        with self._store.session() as session:
            going_on = (Job.id == job_id, Job.state.in_(WORKED_ON))
            session.execute(update(Job).where(*going_on).values(phases=phases))

    def worked_on(self) -> Sequence[Job]:
        """The jobs that have a process, or should."""
        with self._store.session() as session:
            chosen = select(Job).where(Job.state.in_(WORKED_ON)).order_by(Job.number)
            return session.scalars(chosen).all()

    def settle(self) -> Sequence[Job]:
        """Mark the jobs lost that have no process, and give the others."""
        return [job for job in self.worked_on() if not self._is_lost(job)]

    def _is_lost(self, job: Job) -> bool:
        """Whether a job had lost its process and is marked so now."""
        if job.state not in WORKED_ON or self.folder(job.id).is_at_work():
            return False
        # It may have ended between the two looks: then this changes nothing. Its phases are read
        # once more, as its process may have gone on since the first look.
        phases = ended(self._read(job.id).phases, time.time())
        self.folder(job.id).clear()  # before anybody is told that it is over
        self.finish(job.id, State.LOST, LOST, phases=phases)
        return True

    def _in_the_way(self, order: Order) -> Job | None:
        """The active job that an order may not run beside: store/models.py has the same rules."""
        same_lane = Job.lane == order.lane if order.lane != SERVICE else false()
        same_service = and_(Job.target == order.target, Job.lane != PREVIEW)
        conflicts = same_lane if order.lane == PREVIEW else or_(same_lane, same_service)
        chosen = select(Job).where(Job.host == order.host, Job.state.in_(ACTIVE), conflicts)
        with self._store.session() as session:
            return session.scalar(chosen.order_by(Job.number))

    def holders(self) -> list[int]:
        """The pids of all jobs' processes, told by their locks alone."""
        found = (JobFolder(path).holder() for path in self._root.glob("*/"))
        return [pid for pid in found if pid]

    # Forgetting.

    def forget(self, *, keep_days: float, keep: int, bases: Collection[str]) -> int:
        """Remove what is over and older than `keep_days`, or not among the newest `keep` jobs.

        Of the kinds in `bases`, which others go on from, the last one that was done for a service
        of a host stays: what is removed later is the container that it has named.

        Returns how many jobs went, with their logs.
        """
        over = Job.state.not_in(ACTIVE)
        newest = select(Job.number).where(over).order_by(Job.number.desc()).limit(keep)
        old = or_(Job.finished_at < time.time() - keep_days * 86_400, Job.number.not_in(newest))
        needed = select(func.max(Job.number)).where(done(bases)).group_by(Job.service, Job.host)
        outdated = and_(over, old, Job.number.not_in(needed))
        with self._store.session() as session:
            gone = session.scalars(delete(Job).where(outdated).returning(Job.id)).all()
            kept = set(session.scalars(select(Job.id)))
        for path in self._root.glob("*/"):
            # A folder is made after its row, so that one without a row is an old one's.
            if path.name not in kept:
                JobFolder(path).remove()
        return len(gone)


def done(kinds: Collection[str]) -> ColumnElement[bool]:
    """The jobs of these kinds that did what they say: no preview, and to the end."""
    return and_(Job.kind.in_(kinds), Job.state == State.SUCCEEDED, Job.preview.is_(False))


def _move(
    session: Session, job_id: str, to: State, reason: str, *only: State, **values: object
) -> bool:
    """Change a job's state if it may go there from where it is (and from `only` these states)."""
    if to.is_over:
        values["finished_at"] = time.time()
    allowed = (Job.id == job_id, Job.state.in_(only or to.before()))
    result = session.execute(
        update(Job).where(*allowed).values(state=to, reason=reason, **values)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    assert isinstance(result, CursorResult)
    return result.rowcount == 1

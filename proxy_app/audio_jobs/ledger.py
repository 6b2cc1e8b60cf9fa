"""All audio jobs, in the database, and their folders.

Every change of state is one UPDATE that names the states it may come from. One process works on
them (worker.py); all others ask for them, look at them, and take them away.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError

from proxy_app.store import AudioJob, Store

UPLOAD, RESULT = "upload", "result.json"
TRIES = 3
"""So often a job is begun whose process dies."""
_SUSPECT = TRIES - 1
"""Whose process has died so often is worked on alone: the next death tells whose fault it is."""
_ORPHANED_S = 600.0
"""A folder without a row is that of a request that is just being taken, or was killed."""
_FORGOTTEN_S = 7 * 86_400.0
"""How long it is known that there was a result."""


class State(StrEnum):
    """Where a job stands; canceling is shown to nobody."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELING = "canceling"


ACTIVE = (State.QUEUED, State.RUNNING)
OVER = (State.SUCCEEDED, State.FAILED, State.EXPIRED)


class NoAudioJobError(Exception):
    """There is no such job, or it is somebody else's."""


class OtherJobError(Exception):
    """The Idempotency-Key was sent with another content."""


class TooManyJobsError(Exception):
    """Too many wait; the message says whose."""


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks for, checked."""

    owner: str
    name: str
    is_named: bool
    content: str
    asked: dict[str, Any]
    webhook: str | None


class AudioJobs:
    """The audio jobs of one control host.

    Args:
        store: the database.
        folder: for the jobs' folders; made, if it is missing.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store = store
        self._root = folder

    def folder(self, job_id: str) -> Path:
        """Where a job's files are."""
        return self._root / job_id

    # Asking for them.

    def find_same(self, order: Order) -> AudioJob | None:
        """The job that is the same: at work or, where it has an Idempotency-Key, done as well.

        One that failed or expired is not: there is no result to be had of it.

        Raises:
            OtherJobError: that key was sent with another content.
        """
        states = (*ACTIVE, State.SUCCEEDED) if order.is_named else ACTIVE
        with self._store.session() as session:
            found = session.scalars(
                select(AudioJob)
                .where(
                    AudioJob.owner == order.owner,
                    AudioJob.name == order.name,
                    AudioJob.state.in_(states),
                )
                .order_by(AudioJob.number.desc())
                .limit(1)
            ).first()
        if found is not None and found.content != order.content:
            raise OtherJobError
        return found

    def check_room(self, owner: str, *, per_key: int, in_all: int) -> None:
        """See that one more may wait.

        Those who ask at the same moment may each get the last place: a few more than that many may
        wait then, as many as are asked for at once.

        Raises:
            TooManyJobsError: it may not.
        """
        with self._store.session() as session:
            queued = select(func.count()).where(AudioJob.state == State.QUEUED)
            if (session.scalar(queued) or 0) >= in_all:
                raise TooManyJobsError(f"{in_all} audio jobs wait already")
            mine = session.scalar(queued.where(AudioJob.owner == owner)) or 0
        if mine >= per_key:
            raise TooManyJobsError(f"{per_key} of your audio jobs wait already")

    def new_folder(self) -> tuple[str, Path]:
        """An id, and the folder of a job that is not asked for yet."""
        job_id = secrets.token_hex(12)
        folder = self.folder(job_id)
        folder.mkdir(mode=0o700)
        return job_id, folder

    def add(self, job_id: str, order: Order) -> AudioJob | None:
        """Put a job into the queue; None where the same is there already, or has just come."""
        job = AudioJob(
            id=job_id, owner=order.owner, name=order.name, is_named=order.is_named,
            content=order.content, state=State.QUEUED, asked=order.asked, webhook=order.webhook,
            webhook_at=None, error=None, created_at=time.time(), started_at=None, finished_at=None,
        )  # fmt: skip
        try:
            with self._store.session() as session:
                session.add(job)
        except IntegrityError:
            return None
        return job

    # Looking at them.

    def get(self, job_id: str, owner: str | None) -> AudioJob:
        """A job of an owner's; None is whoever may see all.

        Raises:
            NoAudioJobError: there is none.
        """
        with self._store.session() as session:
            chosen = select(AudioJob).where(AudioJob.id == job_id, *_seen_by(owner))
            job = session.scalars(chosen).first()
        if job is None:
            raise NoAudioJobError
        return job

    def history(self, owner: str | None, *, after: str | None, limit: int) -> list[AudioJob]:
        """An owner's jobs, the newest first, from the one after `after` on.

        Raises:
            NoAudioJobError: there is no job of that id.
        """
        chosen = select(AudioJob).where(*_seen_by(owner))
        if after is not None:
            chosen = chosen.where(AudioJob.number < self.get(after, owner).number)
        with self._store.session() as session:
            return list(session.scalars(chosen.order_by(AudioJob.number.desc()).limit(limit)))

    def remove(self, job_id: str, owner: str | None) -> None:
        """Take a job away, if it is there: its files, and its work, which the process ends.

        The files go first: on a full disk the database may need their room.
        """
        try:
            self.get(job_id, owner)
        except NoAudioJobError:
            return
        self.remove_files(job_id)
        with self._store.session() as session:
            chosen = (AudioJob.id == job_id, *_seen_by(owner))
            at_work = update(AudioJob).where(*chosen, AudioJob.state == State.RUNNING)
            session.execute(at_work.values(state=State.CANCELING))
            gone = session.execute(
                delete(AudioJob).where(*chosen, AudioJob.state.in_([State.QUEUED, *OVER]))
            )
            is_gone = isinstance(gone, CursorResult) and gone.rowcount == 1
        if is_gone:
            self.remove_files(job_id)

    def remove_files(self, job_id: str) -> None:
        """Remove a job's folder."""
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def remove_recordings(self, job_id: str) -> None:
        """Remove what a job that is over needs no more: all but its result.

        Raises:
            OSError: something is still there.
        """
        for path in self.folder(job_id).glob("*"):
            if path.name != RESULT:
                path.unlink(missing_ok=True)

    # Working on them: for one process.

    def claim(self, count: int) -> list[AudioJob]:
        """Begin with so many: in turns among the owners, and the oldest of each first.

        One that may have killed the process twice waits until no other is at work, and then others
        wait for it.
        """
        claimed: list[AudioJob] = []
        with self._store.session(writes=True) as session:
            at_work = session.scalars(
                select(AudioJob.tries).where(AudioJob.state == State.RUNNING)
            ).all()
            if any(tries > _SUSPECT for tries in at_work):
                return []
            last: dict[str, float] = {
                owner: at or 0.0
                for owner, at in session.execute(
                    select(AudioJob.owner, func.max(AudioJob.started_at)).group_by(AudioJob.owner)
                )
            }
            while len(claimed) < count and (waiting := session.scalars(_first_of_each()).all()):
                job = min(waiting, key=lambda one: (last[one.owner], one.number))
                is_suspect = job.tries >= _SUSPECT
                if is_suspect and (at_work or claimed):
                    break
                job.state, job.started_at = State.RUNNING, time.time()
                job.tries += 1
                last[job.owner] = job.started_at
                session.flush()
                claimed.append(job)
                if is_suspect:
                    break
        return claimed

    def in_state(self, *states: State) -> list[AudioJob]:
        """Those in one of the states, the oldest first."""
        with self._store.session() as session:
            chosen = select(AudioJob).where(AudioJob.state.in_(states))
            return list(session.scalars(chosen.order_by(AudioJob.number)))

    def progress(self, job_id: str, stage: str, done_s: float, total_s: float) -> None:
        """Write down how far one is."""
        self._change(job_id, {"stage": stage, "done_s": done_s, "total_s": total_s})

    def put_back(self, job_id: str, **values: Any) -> None:  # noqa: ANN401 - columns
        """Let one wait again; it begins from its beginning."""
        again = {"state": State.QUEUED, "stage": "waiting", "done_s": 0.0}
        self._change(job_id, again | values)

    def finish(
        self,
        job_id: str,
        state: State,
        *,
        error: Mapping[str, Any] | None = None,
        service: str,
        **progress: float,
    ) -> None:
        """Say how one ended, and how far it came, where that is known better than before."""
        now = time.time()
        values = {"state": state, "error": error, "service": service, "finished_at": now}
        self._change(job_id, values | {"stage": state.value, "webhook_at": now} | progress)

    def forget(self, job_id: str) -> None:
        """Remove one that was taken away while it was worked on."""
        self.remove_files(job_id)
        with self._store.session() as session:
            session.execute(delete(AudioJob).where(AudioJob.id == job_id))

    def expire(self, keep_s: float) -> None:
        """Remove results after their time, and later what is known of them."""
        now = time.time()
        late = AudioJob.finished_at < now - keep_s
        over = select(AudioJob.id).where(AudioJob.state.in_([State.SUCCEEDED, State.FAILED]), late)
        with self._store.session() as session:
            results = session.scalars(over).all()
        for job_id in results:  # first: the database may need their room
            self.remove_files(job_id)
        with self._store.session() as session:
            session.execute(
                update(AudioJob).where(AudioJob.id.in_(results)).values(state=State.EXPIRED)
            )
            forgotten = AudioJob.finished_at < now - keep_s - _FORGOTTEN_S
            session.execute(delete(AudioJob).where(AudioJob.state == State.EXPIRED, forgotten))

    def sweep(self) -> None:
        """Remove folders of jobs that were never asked for, and recordings of those that are over.

        The latter are there if the process was killed at the very end of its work.
        """
        with self._store.session() as session:
            known = set(session.scalars(select(AudioJob.id)))
            over = set(session.scalars(select(AudioJob.id).where(AudioJob.state.in_(OVER))))
        for folder in self._root.iterdir():
            if folder.name in over:
                self.remove_recordings(folder.name)
            elif folder.name not in known and time.time() - folder.stat().st_mtime > _ORPHANED_S:
                self.remove_files(folder.name)

    # Webhooks: for the same process.

    def to_be_told(self, limit: int) -> list[AudioJob]:
        """Those whose end is to be told now."""
        with self._store.session() as session:
            due = select(AudioJob).where(
                AudioJob.webhook.is_not(None), AudioJob.webhook_at <= time.time()
            )
            return list(session.scalars(due.order_by(AudioJob.webhook_at).limit(limit)))

    def told(self, job_id: str, *, again_at: float | None) -> None:
        """Its end was told, or is to be told again."""
        with self._store.session() as session:
            session.execute(
                update(AudioJob)
                .where(AudioJob.id == job_id)
                .values(webhook_at=again_at, webhook_tries=AudioJob.webhook_tries + 1)
            )

    def _change(self, job_id: str, values: Mapping[str, Any]) -> None:
        """Change one that is worked on; one that was taken away meanwhile stays so."""
        with self._store.session() as session:
            at_work = (AudioJob.id == job_id, AudioJob.state == State.RUNNING)
            session.execute(update(AudioJob).where(*at_work).values(**values))


def _seen_by(owner: str | None) -> tuple[ColumnElement[bool], ...]:
    there = AudioJob.state != State.CANCELING
    return (there,) if owner is None else (there, AudioJob.owner == owner)


def _first_of_each() -> Select[AudioJob]:
    """The oldest of each owner's that may begin."""
    may_begin = (AudioJob.state == State.QUEUED, AudioJob.due_at <= time.time())
    numbers = select(func.min(AudioJob.number)).where(*may_begin).group_by(AudioJob.owner)
    return select(AudioJob).where(AudioJob.number.in_(numbers))

"""Jobs that are watched: one greenlet per job and process looks, and wakes all who wait."""

from __future__ import annotations

import logging
from typing import ClassVar

import gevent
from gevent.event import Event
from sqlalchemy.exc import SQLAlchemyError

from proxy_app.jobs.ledger import Jobs, NoJobError
from proxy_app.jobs.states import State
from proxy_app.store import Job

log = logging.getLogger(__name__)

_LOOK_S = 0.1
_JOB_EVERY = 5
"""Looks at the file between two at the database."""
_MOST_WATCHERS = 1000


class TooManyWatchersError(Exception):
    """This process has as many as it takes."""


class Watch:
    """One job that is watched: how it is, and an event that is set with the next news."""

    all_end: ClassVar[bool] = False
    """Set when the process is to end: who watches comes back to the next one."""

    def __init__(self, jobs: Jobs, job: Job) -> None:
        self._jobs = jobs
        self.job = job
        self.events = jobs.folder(job.id).events
        self.news = Event()
        self.watchers = 0
        self.is_gone = False

    def run(self) -> None:
        """Look until nobody watches any more, or nothing more will come."""
        size = looks = 0
        while self.watchers and not self.is_gone and not State(self.job.state).is_over:
            gevent.sleep(_LOOK_S)
            looks += 1
            new_size = self._size()
            is_news = new_size != size
            size = new_size
            if Watch.all_end:
                self.is_gone = is_news = True
            elif looks % _JOB_EVERY == 0:
                is_news = self._look() or is_news
            if is_news:
                # Who has read up to here waits for the next one.
                old, self.news = self.news, Event()
                old.set()

    def _size(self) -> int:
        try:
            return self.events.stat().st_size
        except OSError:
            return 0

    def _look(self) -> bool:
        """Whether the job has changed."""
        before = (self.job.state, self.job.reason, self.job.phases)
        try:
            self.job = self._jobs.get(self.job.id)
        except NoJobError:
            self.is_gone = True
        except SQLAlchemyError as error:
            log.warning("the database does not answer: %s", type(error).__name__)
        return self.is_gone or before != (self.job.state, self.job.reason, self.job.phases)


class Watches:
    """The jobs that clients of this process watch."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._watches: dict[str, Watch] = {}

    def enter(self, job_id: str) -> Watch:
        """Watch a job; `leave` is to be called.

        Raises:
            NoJobError: there is none.
            TooManyWatchersError: there is no room for another one.
        """
        if sum(watch.watchers for watch in self._watches.values()) >= _MOST_WATCHERS:
            raise TooManyWatchersError
        watch = self._watches.get(job_id)
        if watch is None:
            watch = self._watches[job_id] = Watch(self._jobs, self._jobs.get(job_id))
            watch.watchers = 1
            gevent.spawn(watch.run)
        else:
            watch.watchers += 1
        return watch

    def leave(self, watch: Watch) -> None:
        """Watch it no more."""
        watch.watchers -= 1
        if not watch.watchers:
            self._watches.pop(watch.job.id, None)

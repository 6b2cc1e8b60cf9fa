"""A running job whose process is this one: who tests or measures says what happens."""

import itertools
import os
import secrets
import time
from dataclasses import asdict

from proxy_app.jobs import State
from proxy_app.jobs.events import EventWriter
from proxy_app.store import Job
from tests.jobs.house import House
from tests.jobs.orders import an_order

hosts = (f"host{number}" for number in itertools.count())


class Told:
    """One job; its lock is held until it ends."""

    def __init__(self, house: House) -> None:
        self.house = house
        job_id = secrets.token_hex(8)
        folder = house.room.jobs.folder(job_id)
        lock = folder.take()
        assert lock is not None
        self._lock = lock
        # It is never queued: a dispatcher beside it would start it.
        now = time.time()
        with house.room.store.session() as session:
            times = {"created_at": now, "started_at": now}
            order = asdict(an_order(host=next(hosts)))
            session.add(Job(id=job_id, state=State.RUNNING, phases=[], **times, **order))
        self.job = house.room.jobs.get(job_id)
        self.events = EventWriter(folder.events)

    @property
    def path(self) -> str:
        return f"/api/jobs/{self.job.id}/stream"

    def log(self, *numbers: int) -> None:
        for number in numbers:
            self.events.log(f"line {number}")

    def end(self, state: State = State.SUCCEEDED, reason: str = "It ran.") -> None:
        self.house.room.jobs.finish(self.job.id, state, reason)
        os.close(self._lock)

"""A running job whose process is this one: who tests or measures says what happens."""

import itertools
import os

from proxy_app.jobs import State
from proxy_app.jobs.events import EventWriter
from tests.jobs.house import House
from tests.jobs.orders import an_order

hosts = (f"host{number}" for number in itertools.count())


class Told:
    """One job; its lock is held until it ends."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.job = house.room.jobs.add(an_order(host=next(hosts)))
        folder = house.room.jobs.folder(self.job.id)
        lock = folder.take()
        assert lock is not None
        self._lock = lock
        house.room.jobs.finish(self.job.id, State.RUNNING, "")
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

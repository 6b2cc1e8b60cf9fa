"""A worker that cannot begin, in this process: its job fails with a sentence, and is not lost."""

import errno
import os
import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from proxy_app.jobs import worker
from proxy_app.jobs.kinds import SUPERVISOR
from proxy_app.jobs.ledger import HOST, SERVICE, Order
from proxy_app.jobs.project import ProjectError
from proxy_app.jobs.states import State
from proxy_app.store import Job
from tests.jobs.house import House
from tests.jobs.orders import a_restart, an_order


def work(house: House, order: Order, monkeypatch: pytest.MonkeyPatch, *, is_blocked: bool) -> Job:
    """Do a job as its process does, and give it as it is then."""
    for name, value in house.environ.items():
        monkeypatch.setenv(name, value)
    jobs = house.room.jobs
    job = jobs.add(order)
    (claimed,) = jobs.claim(order.lane, 1)
    if is_blocked:
        claimed.folder.events.mkdir()
    try:
        assert worker.main(job.id, claimed.lock) == int(is_blocked)
    finally:
        os.close(claimed.lock)
    return jobs.get(job.id)


def test_a_worker_that_cannot_begin_fails_its_job(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = work(house, an_order(lane=HOST), monkeypatch, is_blocked=True)
    assert job.state == State.FAILED
    assert job.reason.startswith("The control app cannot use /")
    assert job.reason.endswith("/events.jsonl: Is a directory.")


def test_a_service_that_is_registered_no_more_is_named(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = a_restart()
    assert order.lane == SERVICE
    order = an_order(kind=order.kind, lane=SERVICE, executor=SUPERVISOR)
    job = work(house, order, monkeypatch, is_blocked=False)
    assert (job.state, job.reason) == (State.FAILED, "whisperx is not registered any more.")


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (ProjectError("There is no inventory."), "There is no inventory."),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "use /x: Permission denied."),
        (OperationalError("SELECT 1", {"key": "hunter2"}, sqlite3.Error()), "did not answer"),
        (StopIteration(), "went wrong in the job's own process (StopIteration)"),
        (KeyError("hunter2"), "went wrong in the job's own process (KeyError)"),
    ],
)
def test_every_error_becomes_a_sentence(error: Exception, part: str) -> None:
    said = worker.sentence(error)
    assert part in said
    assert said.endswith(".")
    assert "hunter2" not in said

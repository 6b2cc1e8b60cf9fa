"""Jobs on the embedded engine: a real supervisord, and a stand-in for the engine below it."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy_app.jobs import ActiveJobError
from proxy_app.jobs.states import State
from proxy_app.services import Registry, Service
from proxy_app.store import Job
from proxy_app.supervision import ENGINE, supervisor
from tests.jobs.house import House, eventually, settings
from tests.jobs.supervised import supervised


@dataclass
class Embedded:
    """A house with an engine that its supervisor runs."""

    house: House
    folder: Path
    socket: Path

    @property
    def service(self) -> Service:
        (service,) = Registry(self.house.room.config).read().services
        return service

    def switch(self, verb: str) -> Job:
        return self.house.room.desk.switch(verb, self.service)

    def done(self, verb: str) -> Job:
        return self.house.wait(self.switch(verb))

    def engine(self) -> tuple[str, int]:
        """Its state and its pid, as the supervisor says."""
        with supervisor(self.socket) as rpc:
            info = rpc.supervisor.getProcessInfo(ENGINE)
        return info["statename"], info["pid"]


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    with supervised(tmp_path) as (socket, known):
        house = House(settings(tmp_path, **known))
        found = Embedded(house, tmp_path, socket)
        try:
            assert eventually(lambda: found.engine()[0] == "RUNNING")
            with house.dispatching():
                yield found
        finally:
            house.room.close()


def test_a_restart_of_the_engine_is_a_job_like_any_other(embedded: Embedded) -> None:
    before = embedded.engine()
    job = embedded.done("restart")
    assert (job.state, job.executor, job.lane) == (State.SUCCEEDED, "supervisor", "service")
    assert [phase["name"] for phase in job.phases] == ["Stop", "Start", "Verify"]
    assert embedded.house.text(job).endswith("The engine is ready.")
    after = embedded.engine()
    assert after[0] == before[0] == "RUNNING"
    assert after[1] != before[1]


def test_what_is_stopped_stays_so_until_it_is_started(embedded: Embedded) -> None:
    assert embedded.done("stop").state == State.SUCCEEDED
    assert embedded.engine()[0] == "STOPPED"
    assert embedded.done("stop").state == State.SUCCEEDED  # as it is already
    assert embedded.done("start").state == State.SUCCEEDED
    assert embedded.engine()[0] == "RUNNING"


def test_a_wedged_engine_is_restarted(embedded: Embedded) -> None:
    _, pid = embedded.engine()
    os.kill(pid, signal.SIGSTOP)
    assert embedded.done("restart").state == State.SUCCEEDED
    assert embedded.engine()[1] != pid


def test_an_engine_that_does_not_stay_up_fails_the_job_until_it_is_mended(
    embedded: Embedded,
) -> None:
    (embedded.folder / "broken").touch()
    job = embedded.done("restart")
    assert job.state == State.FAILED
    assert job.reason.startswith("The engine does not stay up")
    assert job.phases[-1]["state"] == "failed"
    (embedded.folder / "broken").unlink()
    assert embedded.house.wait(embedded.house.room.desk.rerun(job, embedded.service)).state == (
        State.SUCCEEDED
    )


def test_a_restart_that_waits_is_in_the_way_of_another_and_can_be_canceled(
    embedded: Embedded,
) -> None:
    (embedded.folder / "loading").touch()
    job = embedded.switch("restart")
    embedded.house.wait_for_text(job, "Loading: waiting for")
    with pytest.raises(ActiveJobError) as caught:
        embedded.switch("stop")
    assert caught.value.job.id == job.id
    embedded.house.room.jobs.cancel(job.id)
    ended = embedded.house.wait(job)
    assert (ended.state, ended.reason) == (State.CANCELED, "Canceled by the API.")


def test_without_its_supervisor_a_job_says_so(embedded: Embedded) -> None:
    with supervisor(embedded.socket) as rpc:
        rpc.supervisor.shutdown()
    assert eventually(lambda: not embedded.socket.exists())
    job = embedded.done("restart")
    assert job.state == State.FAILED
    assert job.reason.startswith("The supervisor of the engine does not answer")

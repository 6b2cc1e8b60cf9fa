"""How jobs end that do not end by themselves: canceled, overdue, killed, with the machine."""

import contextlib
import fcntl
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from proxy_app.jobs import ActiveJobError
from proxy_app.jobs.ledger import LOST
from proxy_app.jobs.states import State
from proxy_app.store import Job
from tests.jobs.house import House, command_line, eventually, settings


def begun(house: House, host: str = "slow") -> Job:
    """A job whose playbook is in the middle of its long task."""
    job = house.order(host)
    house.wait_for_text(job, "TASK [Build | ")
    assert eventually(lambda: sleeps(house))
    return job


def sleeps(house: House) -> list[int]:
    """What the long task waits for; Ansible has `sleep 0` in the commands that lead to it."""
    return [pid for pid in house.playbooks() if command_line(pid).startswith("sleep ")]


def freeze(house: House) -> list[int]:
    """Let ansible-playbook itself, too, hear nothing any more; the pids of what stands still."""
    frozen = []
    for pid in house.playbooks():
        with contextlib.suppress(ProcessLookupError):  # Ansible forks for a moment now and then
            os.kill(pid, signal.SIGSTOP)
            frozen.append(pid)
    return frozen


def nothing_runs(house: House) -> bool:
    assert eventually(lambda: not house.playbooks(), 20), house.shown()
    return True


def test_a_cancel_ends_the_playbook_and_its_commands(house: House) -> None:
    with house.dispatching():
        job = begun(house)
        assert house.room.jobs.cancel(job.id, by="the page").state == State.CANCELING
        ended = house.wait(job)
        assert (ended.state, ended.reason) == (State.CANCELED, "Canceled by the page.")
        assert [phase["state"] for phase in ended.phases] == ["succeeded", "canceled"]
        assert nothing_runs(house)
        assert house.order("slow").state == State.QUEUED  # the host is free again


def test_a_cancel_leaves_no_command_that_hears_no_signal(house: House) -> None:
    with house.dispatching():
        job = begun(house, "stubborn")
        house.room.jobs.cancel(job.id)
        assert house.wait(job).state == State.CANCELED
        assert nothing_runs(house)


def test_force_ends_what_hears_no_signal(house: House) -> None:
    with house.dispatching():
        job = begun(house, "stubborn")
        freeze(house)
        house.room.jobs.cancel(job.id, force=True)
        assert house.wait(job).state == State.CANCELED
        assert nothing_runs(house)


def test_a_job_that_takes_too_long_is_ended_and_says_so(tmp_path: Path) -> None:
    house = House(settings(tmp_path, SPEECH_JOB_LIMIT_S="4"))
    with house.dispatching():
        ended = house.wait(house.order("slow"))
        assert (ended.state, ended.reason) == (
            State.TIMED_OUT,
            "It took longer than the 4 s that it may take.",
        )
        assert nothing_runs(house)
    house.room.close()


def test_a_worker_that_is_killed_takes_its_playbook_along_and_is_found(any_house: House) -> None:
    house = any_house
    with house.dispatching():
        job = begun(house)
        os.kill(house.worker(job), signal.SIGKILL)
        assert nothing_runs(house)
        ended = house.wait(job)
        assert (ended.state, ended.reason) == (State.LOST, LOST)
        assert not house.room.jobs.folder(job.id).work.exists()
        again = house.room.desk.rerun(ended, None)
        assert again.rerun_of == job.id
        house.wait_for_text(again, "TASK [Build | ")


def test_a_playbook_that_outlives_its_worker_is_seen_and_ended(house: House) -> None:
    with house.dispatching():
        job = begun(house)
        for pid in house.playbooks():
            os.kill(pid, signal.SIGSTOP)  # it hears nothing
        os.kill(house.worker(job), signal.SIGKILL)
        time.sleep(1)
        assert house.now(job).state == State.RUNNING
        with pytest.raises(ActiveJobError):
            house.order("slow")
        assert nothing_runs(house)
        assert house.wait(job).state == State.LOST


def test_a_dispatcher_that_is_killed_leaves_its_jobs_to_the_next_one(house: House) -> None:
    with house.dispatching() as dispatcher:
        job = begun(house)
        dispatcher.kill()
        dispatcher.wait()
        queued = house.order("failing")
        assert house.now(job).state == State.RUNNING
        with house.dispatching():
            assert house.wait(queued).state == State.FAILED
            assert house.now(job).state == State.RUNNING
            house.room.jobs.cancel(job.id)
            assert house.wait(job).state == State.CANCELED


def test_when_the_machine_goes_down_everything_says_so_afterwards(house: House) -> None:
    with house.dispatching() as dispatcher:
        job = begun(house)
        for pid in (dispatcher.pid, house.worker(job), *house.playbooks()):
            with contextlib.suppress(ProcessLookupError):  # a playbook ends with its worker
                os.kill(pid, signal.SIGKILL)
        dispatcher.wait()
    with house.dispatching():
        assert house.wait(job).state == State.LOST
        assert house.order("slow").state == State.QUEUED  # no lock of the page's stays


def lock_of(house: House) -> dict[str, Any]:
    """The host's lock, as the playbook of the job has taken it there."""
    told: dict[str, Any] = json.loads((house.tmp / "host/lock.json").read_text())
    return told


def has_rebooted(house: House, **changes: str) -> None:
    """Let the host's locks be of a process that nobody can know any more, but for the page."""
    told = lock_of(house)
    _process, installation, job = told["run_id"].split("-")
    known = {"installation": installation, "job": job, **changes}
    told["run_id"] = f"1.1.feedfeedfeed-{known['installation']}-{known['job']}"
    for path in (house.tmp / "host").glob("*lock.json"):
        path.write_text(json.dumps(told))


def test_after_the_machine_went_down_no_lock_stays_on_a_host(house: House) -> None:
    with house.dispatching() as dispatcher:
        job = begun(house, "locking")
        assert lock_of(house)["run_id"].endswith(f"-{house.room.installation()}-{job.id}")
        for pid in (dispatcher.pid, house.worker(job), *house.playbooks()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        dispatcher.wait()
        assert nothing_runs(house)
    has_rebooted(house)
    with house.dispatching():
        lost = house.wait(job)
        again = house.room.desk.rerun(lost, None)
        house.wait_for_text(again, "TASK [Build | ")
        assert "The lock of a run that is no more was taken" in house.text(again)
        assert lock_of(house)["run_id"].endswith(f"-{again.id}")


def test_a_lock_whose_playbook_lives_or_is_another_pages_is_left_alone(house: House) -> None:
    with house.dispatching():
        job = begun(house, "locking")
        os.kill(house.worker(job), signal.SIGKILL)
        assert nothing_runs(house)
        lost = house.wait(job)
        has_rebooted(house)
        path = house.room.jobs.folder(job.id).playbook_lock
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            refused = house.wait(house.room.desk.rerun(lost, None))
        assert refused.state == State.FAILED
        assert "Another run is at work here" in refused.reason
        has_rebooted(house, installation="ab" * 8)
        refused = house.wait(house.room.desk.rerun(lost, None))
        assert "Another run is at work here" in refused.reason


def test_a_playbook_that_outlives_its_worker_holds_its_lock_until_it_ends(house: House) -> None:
    with house.dispatching():
        job = begun(house, "stubborn")
        folder = house.room.jobs.folder(job.id)
        frozen = freeze(house)
        os.kill(house.worker(job), signal.SIGKILL)
        assert eventually(lambda: not folder.is_held())
        folder.remove()
        with folder.playbook_lock.open() as lock:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            for pid in frozen:
                os.kill(pid, signal.SIGKILL)
            assert nothing_runs(house)
        assert eventually(lambda: not folder.is_at_work())
        assert house.wait(job).state == State.LOST


def test_a_control_app_that_stops_ends_its_jobs_and_says_so(house: House) -> None:
    with house.dispatching() as dispatcher:
        job = begun(house)
        dispatcher.send_signal(signal.SIGTERM)
        assert dispatcher.wait(60) == 0
        assert not house.playbooks()
        ended = house.now(job)
        assert ended.state == State.CANCELED
        assert ended.reason.startswith("The control app was stopped, and the job with it")


def test_a_worker_that_is_stuck_is_killed_when_it_is_overdue(house: House) -> None:
    with house.dispatching():
        job = begun(house)
        os.kill(house.worker(job), signal.SIGSTOP)
        house.change(job, limit_s=-1000.0)
        assert house.wait(job).state == State.LOST
        assert nothing_runs(house)


def test_a_second_dispatcher_waits_for_the_first(house: House) -> None:
    with house.dispatching() as first, house.dispatching() as second:
        assert house.wait(house.order("failing")).state == State.FAILED
        assert (house.state / "dispatcher.log").read_text().count("has pid") == 1
        assert first.poll() is second.poll() is None

"""Asking, claiming, losing and forgetting jobs, in both databases."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from proxy_app.jobs import ActiveJobError, Jobs, NoJobError, State
from proxy_app.jobs.ledger import HOST, LOST, PREVIEW, Order
from proxy_app.services import Registry
from proxy_app.store import Job, Store
from tests.jobs.house import House, settings
from tests.jobs.orders import a_restart, an_order

PATCH = an_order(kind="sortformer.patch", service="sortformer", target="parakeet")
SORTFORMER_LOOK = replace(PATCH, preview=True, lane=PREVIEW)
REMOVE = an_order(kind="whisperx.remove")
LOOK = an_order(preview=True, lane=PREVIEW)


def start(jobs: Jobs) -> list[int]:
    """Claim what is queued as the dispatcher does; gives the locks, which somebody holds."""
    return [claimed.lock for claimed in jobs.claim(HOST, 99)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(an_order(), an_order(), id="the same again"),
        pytest.param(an_order(), REMOVE, id="another work on the host"),
        pytest.param(an_order(), PATCH, id="another service's work on the host"),
        pytest.param(a_restart(), a_restart(), id="two restarts of a service"),
        pytest.param(an_order(), a_restart(), id="a restart of what is being installed"),
        pytest.param(a_restart(), an_order(), id="an install of what is being restarted"),
        pytest.param(PATCH, a_restart("parakeet"), id="a restart of what is being patched"),
        pytest.param(LOOK, LOOK, id="two previews"),
    ],
)
def test_a_second_order_gets_the_job_that_is_in_its_way(
    jobs: Jobs, first: Order, second: Order
) -> None:
    job = jobs.add(first)
    with pytest.raises(ActiveJobError) as caught:
        jobs.add(second)
    assert caught.value.job.id == job.id
    jobs.cancel(job.id)
    assert jobs.add(second).state == State.QUEUED


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(an_order(), a_restart("parakeet"), id="a restart beside a build"),
        pytest.param(a_restart("parakeet"), an_order(), id="a build beside a restart"),
        pytest.param(a_restart(), a_restart("parakeet"), id="two services"),
        pytest.param(an_order(), an_order(host="spark2"), id="two hosts"),
        pytest.param(a_restart(), a_restart(host="spark2"), id="a service of two hosts"),
        pytest.param(an_order(), LOOK, id="a preview beside a build"),
        pytest.param(LOOK, a_restart(), id="a restart beside a preview"),
    ],
)
def test_what_is_not_in_the_way_goes_beside(jobs: Jobs, first: Order, second: Order) -> None:
    jobs.add(first)
    assert jobs.add(second).state == State.QUEUED


def test_a_preview_is_in_the_way_of_a_preview_alone_whatever_its_service(jobs: Jobs) -> None:
    """The oldest job of its service is a build that has its host: that is not in its way."""
    jobs.add(an_order())
    preview = jobs.add(SORTFORMER_LOOK)
    with pytest.raises(ActiveJobError) as caught:
        jobs.add(LOOK)
    assert caught.value.job.id == preview.id


def test_of_many_clicks_at_once_one_makes_a_job_and_all_others_get_it(
    jobs: Jobs, store: Store
) -> None:
    def click(_number: int) -> tuple[str, bool]:
        try:
            return jobs.add(an_order()).id, True
        except ActiveJobError as error:
            return error.job.id, False

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(click, range(100)))
    assert len({job_id for job_id, _ in answers}) == 1
    assert sum(made for _, made in answers) == 1
    with store.session() as session:
        assert session.scalar(text("SELECT count(*) FROM jobs")) == 1


def test_a_job_without_its_process_is_lost_and_in_nobodys_way(jobs: Jobs) -> None:
    job = jobs.add(an_order())
    (lock,) = start(jobs)
    with pytest.raises(ActiveJobError):
        jobs.add(an_order())
    os.close(lock)  # as a kill -9 does
    again = jobs.add(an_order())
    found = jobs.get(job.id)
    assert (found.state, found.reason) == (State.LOST, LOST)
    assert again.id != job.id


@pytest.mark.parametrize("look", ["get", "history", "settle"])
def test_whoever_looks_finds_a_lost_job_lost(jobs: Jobs, store: Store, look: str) -> None:
    job = jobs.add(an_order())
    (lock,) = start(jobs)
    jobs.cancel(job.id)
    os.close(lock)
    looks: dict[str, Callable[[], object]] = {
        "get": lambda: jobs.get(job.id),
        "history": jobs.history,
        "settle": jobs.settle,
    }
    looks[look]()
    with store.session() as session:
        assert session.scalar(text("SELECT state FROM jobs")) == State.LOST


def test_a_lost_job_has_no_phase_that_goes_on(jobs: Jobs) -> None:
    job = jobs.add(an_order())
    (lock,) = start(jobs)
    done = {"name": "Lock", "state": "succeeded", "started_at": 1.0, "finished_at": 2.0}
    at_work = {"name": "Build", "state": "running", "started_at": 2.0, "finished_at": None}
    jobs.note(job.id, [done, at_work])
    os.close(lock)
    (lost,) = jobs.history()
    first, last = lost.phases
    assert first == done
    assert (last["state"], last["started_at"]) == ("failed", 2.0)
    assert last["finished_at"] == pytest.approx(lost.finished_at, abs=1)


def test_what_has_its_process_is_not_lost(jobs: Jobs) -> None:
    job = jobs.add(an_order())
    (lock,) = start(jobs)
    assert [one.id for one in jobs.settle()] == [job.id]
    os.close(lock)
    assert jobs.settle() == []


def test_a_queued_job_is_canceled_at_once_and_a_running_one_is_told(jobs: Jobs) -> None:
    queued = jobs.cancel(jobs.add(an_order()).id, by="the page")
    assert (queued.state, queued.reason) == (
        State.CANCELED,
        "Canceled by the page before it began.",
    )
    job = jobs.add(an_order())
    (lock,) = start(jobs)
    told = jobs.cancel(job.id)
    assert (told.state, told.force) == (State.CANCELING, False)
    assert jobs.cancel(job.id, force=True).force
    assert jobs.finish(job.id, State.CANCELED, "Canceled by the API.")
    os.close(lock)
    assert jobs.cancel(job.id).reason == "Canceled by the API."


def test_a_canceled_job_is_not_started(jobs: Jobs) -> None:
    job = jobs.add(an_order())
    claims = jobs.claim(HOST, 1)
    jobs.cancel(job.id)
    assert list(claims) == []
    assert not jobs.folder(job.id).is_held()


def test_only_as_many_are_claimed_as_there_is_room_for_the_oldest_first(jobs: Jobs) -> None:
    added = [jobs.add(an_order(host=f"spark{number}")) for number in range(3)]
    claimed = list(jobs.claim(HOST, 2))
    assert [one.job.id for one in claimed] == [job.id for job in added[:2]]
    assert list(jobs.claim(HOST, 0)) == []
    for one in claimed:
        os.close(one.lock)


def test_folders_of_jobs_are_for_this_user_alone(jobs: Jobs) -> None:
    job = jobs.add(an_order())
    (lock,) = start(jobs)
    os.close(lock)
    folder = jobs.folder(job.id).path
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]


def test_history_comes_in_pages_the_newest_first(jobs: Jobs) -> None:
    added = [jobs.add(an_order(host=f"spark{number}")) for number in range(5)]
    first = jobs.history(limit=2)
    rest = jobs.history(before=first[-1].number, limit=9)
    assert [job.id for job in (*first, *rest)] == [job.id for job in reversed(added)]
    assert [job.host for job in jobs.history(Job.host == "spark3")] == ["spark3"]


def test_a_job_that_there_is_not_is_an_error(jobs: Jobs) -> None:
    for act in (jobs.get, jobs.cancel):
        with pytest.raises(NoJobError):
            act("nothing")


def test_what_is_old_is_forgotten_with_its_log_and_what_is_active_is_not(
    jobs: Jobs, store: Store
) -> None:
    made = [ended(jobs, f"spark{number}") for number in range(5)]
    active = jobs.add(an_order(host="busy"))
    (lock,) = start(jobs)
    stray = jobs.folder("0123456789abcdef")
    stray.path.mkdir()
    long_ago = time.time() - 91 * 86_400
    with store.session() as session:
        session.execute(
            text("UPDATE jobs SET finished_at = :then WHERE id = :id"),
            {"then": long_ago, "id": made[4]},
        )
    assert jobs.forget(keep_days=90, keep=3, bases=()) == 3  # one is too old, two are too many
    gone = jobs.folder("fedcba9876543210")
    held = gone.take()  # its row went, and its process lives
    assert held is not None
    assert jobs.forget(keep_days=90, keep=3, bases=()) == 0
    assert gone.path.exists()
    os.close(held)
    jobs.forget(keep_days=90, keep=3, bases=())
    left = [made[2], made[3], active.id]
    assert sorted(job.id for job in jobs.history()) == sorted(left)
    folders = {path.name for path in jobs.folder("x").path.parent.iterdir()}
    assert folders == set(left)
    os.close(lock)


def ended(jobs: Jobs, host: str) -> str:
    job = jobs.add(an_order(host=host))
    (lock,) = start(jobs)
    jobs.finish(job.id, State.SUCCEEDED, "It ran.")
    os.close(lock)
    return job.id


def test_an_install_on_this_machine_is_no_work_on_the_embedded_engine(tmp_path: Path) -> None:
    known = {"WHISPERX_HOST": "127.0.0.1", "SPEECH_ENGINE_SUPERVISOR": str(tmp_path / "socket")}
    room = House(settings(tmp_path, **known)).room
    (engine,) = Registry(room.config).read().services
    room.jobs.add(an_order(host="localhost"))
    assert room.desk.last_on(engine) is None
    restart = room.desk.switch("restart", engine)
    last = room.desk.last_on(engine)
    assert last is not None
    assert last.id == restart.id
    with pytest.raises(ActiveJobError):
        room.desk.switch("stop", engine)
    room.close()

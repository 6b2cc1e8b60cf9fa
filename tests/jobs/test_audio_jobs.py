"""The rows of audio jobs, in both databases: one of each, turns, ends, what is forgotten."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from proxy_app.audio_jobs.ledger import (
    AudioJobs,
    NoAudioJobError,
    Order,
    OtherJobError,
    State,
    TooManyJobsError,
)
from proxy_app.store import AudioJob, Store


@pytest.fixture
def audio_jobs(store: Store, tmp_path: Path) -> AudioJobs:
    return AudioJobs(store, tmp_path / "audio-jobs")


def order(owner: str = "", name: str = "a", *, named: bool = False, content: str = "x") -> Order:
    return Order(owner, name, named, content, {"format": "json"}, None)


def add(jobs: AudioJobs, owner: str = "", name: str = "a", *, named: bool = False) -> str:
    job_id, _ = jobs.new_folder()
    job = jobs.add(job_id, order(owner, name, named=named))
    assert job is not None
    return job.id


def test_of_many_who_ask_for_the_same_at_once_one_gets_it(audio_jobs: AudioJobs) -> None:
    ids = [audio_jobs.new_folder()[0] for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        added = [job for job in pool.map(lambda id_: audio_jobs.add(id_, order()), ids) if job]
    assert len(added) == 1
    found = audio_jobs.find_same(order())
    assert found is not None
    assert found.id == added[0].id
    assert audio_jobs.find_same(order("another")) is None


def test_what_is_over_is_the_same_only_by_its_idempotency_key(audio_jobs: AudioJobs) -> None:
    job = add(audio_jobs, named=True)
    audio_jobs.claim(1)
    audio_jobs.finish(job, State.SUCCEEDED, service="whisperx")
    assert audio_jobs.find_same(order()) is None
    assert audio_jobs.find_same(order(named=True)) is not None
    with pytest.raises(OtherJobError):
        audio_jobs.find_same(order(named=True, content="y"))


@pytest.mark.parametrize("end", [State.FAILED, State.EXPIRED])
def test_an_idempotency_key_whose_job_has_no_result_begins_anew(
    audio_jobs: AudioJobs, end: State
) -> None:
    old = add(audio_jobs, named=True)
    audio_jobs.claim(1)
    audio_jobs.finish(old, end, error={"message": "no"}, service="")
    assert audio_jobs.find_same(order(named=True)) is None
    assert audio_jobs.find_same(order(named=True, content="y")) is None
    new = add(audio_jobs, named=True)
    found = audio_jobs.find_same(order(named=True))
    assert found is not None
    assert found.id == new != old


def test_owners_take_turns_and_the_oldest_of_each_goes_first(audio_jobs: AudioJobs) -> None:
    mine = [add(audio_jobs, "a", str(number)) for number in range(3)]
    theirs = [add(audio_jobs, "b", str(number)) for number in range(2)]
    claimed = [audio_jobs.claim(1)[0].id for _ in range(2)] + [j.id for j in audio_jobs.claim(9)]
    assert claimed == [mine[0], theirs[0], mine[1], theirs[1], mine[2]]
    assert audio_jobs.claim(1) == []


def test_what_may_have_killed_the_process_twice_is_worked_on_alone(audio_jobs: AudioJobs) -> None:
    jobs = [add(audio_jobs, name=str(number)) for number in range(3)]
    for _death in range(2):
        assert [job.id for job in audio_jobs.claim(2)] == jobs[:2]
        for job in jobs[:2]:
            audio_jobs.put_back(job)
    for job in jobs[:2]:
        assert [one.id for one in audio_jobs.claim(2)] == [job], "another one is at work beside it"
        assert audio_jobs.claim(1) == []
        audio_jobs.finish(job, State.SUCCEEDED, service="")
    late = add(audio_jobs, name="late")
    assert [one.id for one in audio_jobs.claim(2)] == [jobs[2], late]
    audio_jobs.put_back(late, tries=2)
    assert audio_jobs.claim(1) == [], "it is at work beside another one"
    audio_jobs.finish(jobs[2], State.SUCCEEDED, service="")
    assert [one.id for one in audio_jobs.claim(1)] == [late]


def test_what_was_taken_away_at_work_does_not_come_back(audio_jobs: AudioJobs) -> None:
    job = add(audio_jobs)
    audio_jobs.claim(1)
    audio_jobs.remove(job, "another")
    assert audio_jobs.get(job, None).state == State.RUNNING
    audio_jobs.remove(job, "")
    audio_jobs.finish(job, State.SUCCEEDED, service="whisperx")
    audio_jobs.put_back(job)
    with pytest.raises(NoAudioJobError):
        audio_jobs.get(job, None)
    assert audio_jobs.history(None, after=None, limit=9) == []
    assert [one.id for one in audio_jobs.in_state(State.CANCELING)] == [job]
    audio_jobs.forget(job)
    assert not audio_jobs.folder(job).exists()


def test_room_is_bounded_for_each_and_for_all(audio_jobs: AudioJobs) -> None:
    for owner in ("a", "a", "b"):
        add(audio_jobs, owner, str(time.monotonic_ns()))
    audio_jobs.check_room("b", per_key=2, in_all=4)
    with pytest.raises(TooManyJobsError, match="of your"):
        audio_jobs.check_room("a", per_key=2, in_all=4)
    with pytest.raises(TooManyJobsError, match="3 audio jobs"):
        audio_jobs.check_room("b", per_key=2, in_all=3)
    audio_jobs.claim(2)
    audio_jobs.check_room("a", per_key=2, in_all=3)


def test_results_go_first_and_what_is_known_of_them_a_week_later(
    audio_jobs: AudioJobs, store: Store
) -> None:
    job = add(audio_jobs)
    audio_jobs.claim(1)
    audio_jobs.finish(job, State.FAILED, error={"message": "no"}, service="")
    audio_jobs.expire(3600)
    assert audio_jobs.get(job, None).state == State.FAILED
    age(store, 3601)
    audio_jobs.expire(3600)
    assert audio_jobs.get(job, None).state == State.EXPIRED
    assert not audio_jobs.folder(job).exists()
    age(store, 8 * 86_400)
    audio_jobs.expire(3600)
    with store.session() as session:
        assert session.scalar(select(func.count(AudioJob.id))) == 0


def age(store: Store, seconds: float) -> None:
    with store.session() as session:
        session.execute(update(AudioJob).values(finished_at=time.time() - seconds))


def test_folders_of_requests_that_broke_off_are_removed_after_a_while(
    audio_jobs: AudioJobs,
) -> None:
    job = add(audio_jobs)
    _, fresh = audio_jobs.new_folder()
    _, old = audio_jobs.new_folder()
    for path in (old, audio_jobs.folder(job)):
        os.utime(path, (0, 0))
    audio_jobs.sweep()
    assert (old.exists(), fresh.exists(), audio_jobs.folder(job).exists()) == (False, True, True)

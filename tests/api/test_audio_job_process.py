"""The process of audio jobs: who goes first, what ends, stops, kills or fills the disk of it."""

import os
import secrets
import signal

import pytest

from proxy_app.audio_jobs.ledger import TRIES
from proxy_app.services import Places
from tests.api.audio_house import JOBS, TEXT, Installation, key_of
from tests.api.conftest import eventually
from tests.api.recordings import canonical_wav
from tests.api.test_known_speakers import (
    NAMES,
    OTHER,
    REFERENCES,
    VOICE,
    data_url,
    post,
    said_by,
    speakers_of,
)
from tests.standins.upstream_whisperx import StandIn, stream


def test_a_job_that_is_taken_away_at_work_frees_its_place_and_stops_the_engine(
    house: Installation, standin: StandIn
) -> None:
    standin.behave("stepwise")
    job = house.made()
    house.start()
    assert eventually(lambda: standin.received, 30)
    assert Places(house.gateway.state / "places").held("whisperx") == 1
    assert house.delete(job) == house.delete(job) == 204
    assert house.get(f"/{job}").status_code == 404
    assert standin.hung_up.wait(10), "the engine goes on for nobody"
    assert eventually(lambda: not Places(house.gateway.state / "places").held("whisperx"))
    assert eventually(lambda: not house.folders())
    assert eventually(lambda: not house.gateway.files())


def test_a_failure_is_told_as_it_was(house: Installation, standin: StandIn) -> None:
    standin.behave("413", {"error": {"message": "too long for this device", "code": "too_long"}})
    job = house.made()
    house.start()
    done = house.becomes(job, "failed")
    assert done["error"]["code"] == "too_long"
    response = house.get(f"/{job}/result")
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_long")
    bad = house.made(b"no recording")
    house.becomes(bad, "failed")
    assert house.get(f"/{bad}/result").status_code == 400


def test_what_no_service_can_take_now_waits(house: Installation, standin: StandIn) -> None:
    standin.behave("503")
    job = house.made()
    house.start()
    assert eventually(lambda: standin.received, 30)
    assert eventually(lambda: house.get(f"/{job}").json()["status"] == "queued", 30)
    assert 30 <= house.row(job).waits < 300
    standin.behave("ok")
    house.change(job, due_at=0.0)
    house.becomes(job, "succeeded")


def test_it_waits_for_an_hour_and_not_for_a_number_of_times(
    house: Installation, standin: StandIn
) -> None:
    standin.behave("503")
    jobs = [house.made(canonical_wav(seconds)) for seconds in (1, 2)]
    for job, waited_s in zip(jobs, (3599, 3600), strict=True):
        house.change(job, waits=waited_s)
    house.start()
    assert house.becomes(jobs[1], "failed")["error"]["code"] == "upstream_unavailable"
    assert eventually(lambda: house.row(jobs[0]).waits > 3600, 30)
    assert house.row(jobs[0]).state == "queued"


def test_short_requests_go_before_in_the_service_and_keys_take_turns(
    house: Installation, standin: StandIn
) -> None:
    keys = [key_of(house, secrets.token_hex(4)) for _ in range(2)]
    first = [house.ask(canonical_wav(s), keys[0]).json()["id"] for s in (1, 2, 3)]
    second = house.ask(canonical_wav(1), keys[1]).json()["id"]
    standin.behave("stepwise")
    house.start()
    assert eventually(lambda: len(standin.received) == 1, 30)
    # Beside the job at work a client gets its answer.
    standin.behave("ok")
    assert house.gateway.transcribe().json()["text"] == TEXT
    house.delete(first[0])
    for job in (first[1], second, first[2]):
        house.becomes(job, "succeeded")
    finished = {job["id"]: job["finished_at"] for job in house.get().json()["data"]}
    assert finished[second] < finished[first[2]], "one key's jobs kept the other's waiting"


@pytest.mark.parametrize(("behaviour", "end"), [("ok", "succeeded"), ("413", "failed")])
def test_an_end_that_the_database_does_not_take_is_offered_until_it_does(
    house: Installation, standin: StandIn, behaviour: str, end: str
) -> None:
    standin.behave(behaviour, None if behaviour == "ok" else {"error": {"message": "too long"}})
    job = house.made()
    with house.refusing(f"NEW.state = '{end}'"):
        house.start()
        assert house.logs(f"audio job {job}: IntegrityError")
        assert house.get(f"/{job}").json()["status"] == "running"
    done = house.becomes(job, end)
    assert len(standin.received) == 1, "it was done again"
    if end == "succeeded":
        assert done["progress"] == {"stage": "succeeded", "done_s": 5.0, "total_s": 5.0}
        assert house.get(f"/{job}/result").json()["text"] == TEXT


def test_progress_that_the_database_does_not_take_ends_no_work(
    house: Installation, standin: StandIn
) -> None:
    job = house.made()
    with house.refusing("NEW.state = 'running' AND NEW.total_s != OLD.total_s"):
        house.start()
        house.becomes(job, "succeeded")
        assert house.logs(f"audio job {job}: no progress")


def test_a_result_that_the_disk_has_no_room_for_is_made_again(
    house: Installation, standin: StandIn
) -> None:
    job = house.made()
    (folder,) = house.folders()
    (folder / "result.new").symlink_to("/dev/full")
    house.start()
    assert eventually(lambda: house.row(job).due_at > 0, 30)
    assert house.becomes(job, "queued")["error"] is None
    (folder / "result.new").unlink()
    house.change(job, due_at=0.0)
    house.becomes(job, "succeeded")
    assert len(standin.received) == 2


def test_files_go_before_the_database_is_asked_which_may_need_their_room(
    house: Installation,
) -> None:
    job = house.made()
    with house.refusing("OLD.id IS NOT NULL", "DELETE"):
        assert house.delete(job) >= 500
        assert house.folders() == []
    assert house.delete(job) == 204
    assert house.get(f"/{job}").status_code == 404


def test_what_counts_as_at_work_and_is_not_is_taken_up_without_a_new_process(
    house: Installation,
) -> None:
    house.start()
    done = house.made()
    house.becomes(done, "succeeded")
    house.change(done, state="running", tries=TRIES)
    assert house.becomes(done, "failed")["error"]["code"] == "process_died"


def test_jobs_outlive_the_process_and_the_gateways_workers(
    house: Installation, standin: StandIn
) -> None:
    standin.behave("stepwise")
    job = house.made()
    house.start()
    assert eventually(lambda: len(standin.received) == 1, 30)
    for worker in house.gateway.workers():
        os.kill(worker, signal.SIGKILL)
    house.end(signal.SIGKILL)
    house.start()
    assert eventually(lambda: len(standin.received) == 2, 30), "it was not taken up again"
    house.end(signal.SIGTERM)
    assert eventually(lambda: house.get(f"/{job}").ok and house.get(f"/{job}").json(), 30)
    assert house.get(f"/{job}").json()["status"] == "queued"
    standin.behave("ok")
    house.start()
    assert house.becomes(job, "succeeded")["served_by"] == "whisperx"
    assert house.get(f"/{job}/result").json()["text"] == TEXT


def test_a_job_that_kills_the_process_again_and_again_fails(
    house: Installation, standin: StandIn
) -> None:
    standin.behave("stepwise")
    job = house.made()
    for number in range(3):
        house.start()
        assert eventually(lambda count=number + 1: len(standin.received) == count, 30)  # type: ignore[misc]
        house.end(signal.SIGKILL)
    house.start()
    assert house.becomes(job, "failed")["error"]["code"] == "process_died"
    (folder,) = house.folders()
    assert eventually(lambda: not list(folder.iterdir())), "its recording is kept"


def test_what_a_killed_process_has_left_of_a_recording_goes(house: Installation) -> None:
    job = house.made()
    house.start()
    house.becomes(job, "succeeded")
    house.end(signal.SIGKILL)
    (folder,) = house.folders()
    for name in ("upload", "reference-0.wav"):
        (folder / name).write_bytes(b"left")
    house.start()
    assert eventually(lambda: [path.name for path in folder.iterdir()] == ["result.json"])
    assert house.get(f"/{job}/result").json()["text"] == TEXT


def killed_twice(house: Installation, standin: StandIn, jobs: int) -> None:
    """Kill the process twice while it works on so many, all of them at the same time."""
    standin.behave("stepwise")
    for number in (1, 2):
        house.start(SPEECH_AUDIO_JOBS_AT_ONCE=str(jobs))
        assert eventually(lambda count=number * jobs: len(standin.received) == count, 30)  # type: ignore[misc]
        house.end(signal.SIGKILL)
    assert eventually(lambda: not standin.working)
    standin.most_at_once = 0


def test_of_two_that_the_process_died_at_twice_the_third_death_costs_one_alone(
    house: Installation, standin: StandIn
) -> None:
    jobs = [house.made(canonical_wav(seconds)) for seconds in (1, 2)]
    killed_twice(house, standin, 2)
    house.start(SPEECH_AUDIO_JOBS_AT_ONCE="2")
    assert eventually(lambda: len(standin.received) == 5, 30)
    assert [house.row(job).state for job in jobs] == ["running", "queued"]
    house.end(signal.SIGKILL)
    standin.behave("ok")
    house.start(SPEECH_AUDIO_JOBS_AT_ONCE="2")
    assert house.becomes(jobs[0], "failed", "succeeded")["error"]["code"] == "process_died"
    assert house.becomes(jobs[1], "failed", "succeeded")["status"] == "succeeded"
    assert house.get(f"/{jobs[1]}/result").json()["text"] == TEXT
    assert (len(standin.received), standin.most_at_once) == (6, 1)


def test_two_jobs_bear_two_deaths_and_a_third_one_after_their_end_costs_nothing(
    house: Installation, standin: StandIn
) -> None:
    jobs = [house.made(canonical_wav(seconds)) for seconds in (1, 2)]
    killed_twice(house, standin, 2)
    standin.behave("ok")
    house.start(SPEECH_AUDIO_JOBS_AT_ONCE="2")
    for job in jobs:
        house.becomes(job, "succeeded")
    assert standin.most_at_once == 1, "both are worked on at once, and either may be the guilty one"
    house.end(signal.SIGKILL)
    house.start(SPEECH_AUDIO_JOBS_AT_ONCE="2")
    third = house.made(canonical_wav(3))
    house.becomes(third, "succeeded")
    for job, seconds in zip(jobs, (1.0, 2.0), strict=True):
        assert house.get(f"/{job}").json()["progress"]["done_s"] == seconds
        assert house.get(f"/{job}/result").json()["text"] == TEXT
    assert len(standin.received) == 2 + 2 + 2 + 1


def test_known_speakers_have_their_names_also_when_the_job_begins_again(
    house: Installation, standin: StandIn
) -> None:
    references = [data_url(VOICE), data_url(OTHER)]
    asked = post(
        house.gateway, ["Bob", "Ann"], references, path=JOBS, response_format="diarized_json"
    )
    assert asked.status_code == 202, asked.text
    job = asked.json()["id"]
    standin.behave("stepwise")
    house.start()
    assert eventually(lambda: len(standin.received) == 1, 30)
    house.end(signal.SIGKILL)
    *lines, end = stream(speakers=True)
    standin.behave("ok", [*lines, end | {"answer": said_by("Speaker_0", "Ann")}])
    house.start()
    house.becomes(job, "succeeded")
    assert len(standin.received) == 2
    for received in standin.received:
        assert received.form()[0].getlist(f"{NAMES}[]") == ["Bob", "Ann"]
        assert received.files(f"{REFERENCES}[]") == [VOICE, OTHER]
    assert speakers_of(house.get(f"/{job}/result")) == ["A", "Ann"]
    (folder,) = house.folders()
    assert [path.name for path in folder.iterdir()] == ["result.json"], "voices are kept"


def test_the_voices_of_known_speakers_go_with_the_recording_of_a_job_that_fails(
    house: Installation, standin: StandIn
) -> None:
    standin.behave("413", {"error": {"message": "too long for this device", "code": "too_long"}})
    asked = post(
        house.gateway, ["Ann"], [data_url(VOICE)], path=JOBS, response_format="diarized_json"
    )
    house.start()
    house.becomes(asked.json()["id"], "failed")
    (folder,) = house.folders()
    assert eventually(lambda: not list(folder.iterdir()))

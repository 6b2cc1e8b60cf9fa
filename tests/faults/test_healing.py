"""An engine that fails, and what is done about it: all else is real.

The numbers are those of the list of faults in docs/architecture.md.
"""

import time

import requests

from proxy_app.jobs.states import State
from proxy_app.services import Reports, Verdict
from proxy_app.watch.absence import SILENT_S
from tests.api.recordings import canonical_wav
from tests.faults.installation import Installation, kill, workers
from tests.jobs.house import eventually
from tests.jobs.web import free_port


def is_told_to_come_back(response: requests.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.headers["Retry-After"] == "60"
    assert response.json()["error"]["code"] == "upstream_unavailable"


def test_1_one_500_and_a_probe_that_passes_restart_nothing(home: Installation) -> None:
    home.make("one-500")
    is_told_to_come_back(home.transcribe())
    assert eventually(lambda: home.uploads("probe"))
    home.becomes("ready")
    assert home.transcribe().status_code == 200
    assert home.restarts() == []


def test_2_a_500_and_a_probe_that_fails_are_one_restart_and_then_all_is_well(
    home: Installation,
) -> None:
    home.make("wedged")
    before = home.engine_pid()
    is_told_to_come_back(home.transcribe())
    home.becomes("restarting")
    is_told_to_come_back(home.transcribe())
    shown = home.becomes("ready")
    (job,) = home.restarts()
    assert home.house.wait(job).state == State.SUCCEEDED
    assert job.why == "It answered a deep probe with status 500."
    assert home.engine_pid() != before
    assert shown["restarts_left"] == 2
    assert shown["last_check"]["ok"]
    assert shown["last_check"]["heard"].startswith("Good morning.")
    assert home.transcribe().status_code == 200


def test_3_fifty_500s_at_once_are_one_probe_and_one_restart(home: Installation) -> None:
    home.make("wedged")
    answers = home.at_once(50)
    for answer in answers:
        is_told_to_come_back(answer)
    assert eventually(home.restarts), home.told()
    home.becomes("ready")
    assert len(home.uploads("probe")) == 2, "one that failed, and one after the restart"
    assert len(home.restarts()) == 1


def test_4_after_three_restarts_it_is_given_up_and_clients_are_told(home: Installation) -> None:
    home.make("wedged-for-good")
    is_told_to_come_back(home.transcribe())
    shown = home.becomes("given_up")
    assert len(home.restarts()) == 3
    assert shown["restarts_left"] == 0
    assert shown["detail"].startswith("3 restarts in 30 minutes did not help")
    before = home.uploads("client")
    answer = home.transcribe()
    is_told_to_come_back(answer)
    assert answer.headers["x-should-retry"] == "false"
    assert home.uploads("client") == before, "it is not even asked"
    home.mend("wedged-for-good")
    assert home.web.post("/api/services/whisperx/check").status_code == 202
    home.becomes("ready")


def test_5_an_engine_that_never_answers_is_restarted_after_two_probes(home: Installation) -> None:
    home.make("frozen")
    home.web.post("/api/services/whisperx/check")
    assert eventually(home.restarts), home.told()
    assert len(home.uploads("probe")) == 2
    home.mend("frozen")
    home.becomes("ready")
    assert len(home.restarts()) == 1


def test_8_other_words_than_were_said_are_no_good_answer(home: Installation) -> None:
    home.make("deaf")
    home.web.post("/api/services/whisperx/check")
    assert eventually(home.restarts)
    home.mend("deaf")
    home.becomes("ready")
    assert home.restarts()[0].why == "It answered other words than were said."


def test_9_a_model_that_loads_slowly_is_let_alone(home: Installation) -> None:
    home.make("wedged", "loads-long")
    home.transcribe()
    home.becomes("restarting")
    probes = len(home.uploads("probe"))
    time.sleep(3)
    assert home.is_in("restarting", "warming")
    assert len(home.uploads("probe")) == probes
    home.mend("loads-long")
    home.becomes("ready")
    assert len(home.restarts()) == 1


def test_10_whatever_is_killed_the_budget_and_the_job_survive(home: Installation) -> None:
    home.make("wedged", "loads-long")
    home.transcribe()
    home.becomes("restarting")
    home.kill_watch()
    for pid in workers(home.web):
        kill(pid)
    assert eventually(lambda: _answers(home))
    assert home.shown()["restarts_left"] == 2
    home.start_watch()
    home.mend("loads-long")
    home.becomes("ready")
    (job,) = home.restarts()
    assert home.house.wait(job).state == State.SUCCEEDED
    assert home.shown()["restarts_left"] == 2


def _answers(home: Installation) -> bool:
    try:
        return home.shown()["state"] in ("warming", "unreachable")
    except requests.RequestException:
        return False


def test_15_what_a_person_stops_is_not_healed(home: Installation) -> None:
    job = home.web.post("/api/services/whisperx/stop").json()
    assert eventually(lambda: home.house.room.jobs.get(job["id"]).state == State.SUCCEEDED)
    shown = home.becomes("stopped")
    assert shown["actions"] == ["start"]
    is_told_to_come_back(home.transcribe())
    time.sleep(SILENT_S + 3)  # what ended by itself would be started again by now
    assert home.is_in("stopped")
    assert home.restarts() == []
    home.web.post("/api/services/whisperx/start")
    assert home.becomes("ready")["restarts_left"] == 3


def test_a_process_that_is_killed_comes_back_by_its_supervisor_and_counts(
    home: Installation,
) -> None:
    kill(home.engine_pid())
    assert eventually(lambda: home.shown()["restarts_left"] == 2), home.told()
    home.becomes("ready")
    assert home.restarts() == []


def test_a_broken_recording_restarts_nothing_and_is_to_blame_the_second_time(
    home: Installation,
) -> None:
    broken = canonical_wav(3)
    home.make("one-500")
    is_told_to_come_back(home.transcribe(broken))
    assert eventually(lambda: home.uploads("probe"))
    home.becomes("ready")
    home.make("one-500")
    again = home.transcribe(broken)
    assert (again.status_code, again.json()["error"]["code"]) == (422, "upstream_rejected_audio")
    assert home.restarts() == []


def test_what_a_dead_watch_process_found_is_not_told_by_the_next_one_without_a_database(
    home: Installation,
) -> None:
    home.kill_watch()
    reports = Reports(home.house.state / "reports")
    reports.tell("whisperx", Verdict("given_up", "It was broken yesterday.", refuses=True))
    home.start_watch({"SPEECH_DATABASE_URL": f"postgresql://127.0.0.1:{free_port()}/none"})
    try:
        assert eventually(reports.is_watched), home.told()
        assert eventually(lambda: reports.verdict("whisperx") is None), home.told()
        assert home.transcribe().status_code == 200
    finally:
        home.restart_watch()
    home.becomes("ready")

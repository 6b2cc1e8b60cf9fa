"""POST /v1/audio/jobs: transcriptions for which nobody waits, in a process of their own."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select, update
from sqlalchemy import text as sql

from proxy_app.access.keys import Keys
from proxy_app.audio_jobs.ledger import TRIES
from proxy_app.services import Places
from proxy_app.store import AudioJob, Store
from tests.api.conftest import REPOSITORY, Gateway, environment, eventually, running
from tests.api.recordings import canonical_wav
from tests.standins.upstream_parakeet import Parakeet
from tests.standins.upstream_whisperx import WORDS, StandIn, stream

JOBS = "/v1/audio/jobs"
TEXT = "Hello. Good morning, all."
WAV = canonical_wav(5)
SECRET = secrets.token_bytes(32)


class Listener:
    """A server that is told of ends."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        """What it answers next; then 204."""
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = listener.statuses.pop(0) if listener.statuses else 204
                listener.heard.append((headers, body))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"http://127.0.0.1:{listener.port}/elsewhere")
                self.end_headers()

            def log_message(self, *_about: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


class Installation:
    """A gateway, and the process of its audio jobs."""

    def __init__(self, gateway: Gateway, settings: dict[str, str]) -> None:
        self.gateway = gateway
        self.environment = environment(gateway.state, gateway.port, **settings)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "subprocess.Popen[bytes]":
        log = (self.gateway.state / "audio.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "proxy_app.audio_jobs"],
                cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        return self.process

    def end(self, number: int = signal.SIGTERM) -> None:
        """Tell the process to end, or kill it, and wait until it has."""
        if self.process is not None:
            self.process.send_signal(number)
            assert self.process.wait(30) == (0 if number == signal.SIGTERM else -number)
            self.process = None

    def ask(
        self, wav: bytes = WAV, headers: dict[str, str] | None = None, /, **fields: str
    ) -> requests.Response:
        files = {"file": ("a.wav", wav, "application/octet-stream")}
        url = self.gateway.url + JOBS
        return requests.post(url, fields, files=files, headers=headers, timeout=20)

    def made(self, wav: bytes = WAV, /, **fields: str) -> str:
        response = self.ask(wav, None, **fields)
        assert response.status_code == 202, response.text
        job: str = response.json()["id"]
        return job

    def get(self, path: str = "", **headers: str) -> requests.Response:
        return self.gateway.get(f"{JOBS}{path}", **headers)

    def delete(self, job: str, **headers: str) -> int:
        url = f"{self.gateway.url}{JOBS}/{job}"
        return requests.delete(url, headers=headers, timeout=20).status_code

    def logs(self, what: str) -> bool:
        """Whether the process comes to say that."""
        log = self.gateway.state / "audio.log"
        return eventually(lambda: what in log.read_text(), 30)

    def becomes(self, job: str, *states: str) -> dict[str, Any]:
        assert eventually(lambda: self.get(f"/{job}").json()["status"] in states, 30), self.get(
            f"/{job}"
        ).text
        found: dict[str, Any] = self.get(f"/{job}").json()
        return found

    def folders(self) -> list[Path]:
        return list((self.gateway.state / "audio-jobs").iterdir())

    def change(self, job: str, **values: object) -> None:
        """What hours would, or a process that is no more."""
        with contextlib.closing(Store(None, self.gateway.state)) as store, store.session() as it:
            it.execute(update(AudioJob).where(AudioJob.id == job).values(**values))

    @contextlib.contextmanager
    def refusing(self, when: str, what: str = "UPDATE") -> Iterator[None]:
        """The database takes no change of a job for which that is true, as on a full disk."""
        trigger = f"BEFORE {what} ON audio_jobs WHEN {when} BEGIN SELECT RAISE(ABORT, 'full'); END"
        with contextlib.closing(Store(None, self.gateway.state)) as store:
            with store.session() as session:
                session.execute(sql(f"CREATE TRIGGER refusing {trigger}"))
            try:
                yield
            finally:
                with store.session() as session:
                    session.execute(sql("DROP TRIGGER refusing"))

    def row(self, job: str) -> AudioJob:
        with contextlib.closing(Store(None, self.gateway.state)) as store, store.session() as it:
            return it.scalars(select(AudioJob).where(AudioJob.id == job)).one()


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(scope="module")
def module_house(
    engine: StandIn, listener: Listener, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    state = tmp_path_factory.mktemp("audio-jobs")
    settings = {
        "WHISPERX_HOST": "127.0.0.1",
        "WHISPERX_PORT": str(engine.port),
        "SPEECH_AUDIO_JOBS_AT_ONCE": "1",
        "SPEECH_AUDIO_JOBS_PER_KEY": "3",
        "SPEECH_AUDIO_JOBS_QUEUED": "5",
        "SPEECH_WEBHOOK_HOSTS": f"http://127.0.0.1:{listener.port}, hooks.example.org",
        "SPEECH_WEBHOOK_SECRET": f"whsec_{base64.b64encode(SECRET).decode()}",
    }
    with running(state, engine.port, **settings) as gateway:
        yield Installation(gateway, settings)


@pytest.fixture
def house(
    module_house: Installation, standin: StandIn, listener: Listener
) -> Iterator[Installation]:
    """At first no process works on the jobs; every test takes its own away."""
    listener.heard.clear()
    yield module_house
    standin.release.set()
    standin.steps.release(1000)
    for job in module_house.get().json()["data"]:
        assert module_house.delete(job["id"]) == 204
    if module_house.folders() and module_house.process is None:
        module_house.start()
    assert eventually(lambda: not module_house.folders(), 30)
    assert eventually(lambda: not module_house.gateway.files())
    module_house.end()


def key_of(house: Installation, name: str) -> dict[str, str]:
    with contextlib.closing(Store(None, house.gateway.state)) as store:
        key, _ = Keys(store).make(name)
    sent = {"Authorization": f"Bearer {key}"}
    for _ in range(3):  # by each of the workers
        assert eventually(lambda: house.get(**sent).ok, 20)
        time.sleep(0.4)
    return sent


def test_a_job_is_asked_for_followed_and_read_in_every_format(
    house: Installation, standin: StandIn
) -> None:
    response = house.ask(model="gpt-4o-transcribe-diarize", response_format="diarized_json")
    job = response.json()
    assert (response.status_code, job["object"], job["status"]) == (202, "audio.job", "queued")
    assert response.headers["Location"] == job["url"] == f"{JOBS}/{job['id']}"
    early = house.get(f"/{job['id']}/result")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "job_not_done")
    assert int(early.headers["Retry-After"]) > 0
    standin.behave("stepwise")
    standin.steps.release(3)
    house.start()
    assert eventually(
        lambda: (
            house.get(f"/{job['id']}").json()["progress"]["stage"] == "waiting"
            and house.get(f"/{job['id']}").json()["status"] == "running"
        ),
        30,
    )
    standin.steps.release(20)
    done = house.becomes(job["id"], "succeeded")
    assert done["served_by"] == "whisperx"
    assert done["started_at"] <= done["finished_at"]

    def read(format_: str) -> requests.Response:
        return house.get(f"/{job['id']}/result?response_format={format_}")

    segments = house.get(f"/{job['id']}/result").json()["segments"]
    assert [segment["speaker"] for segment in segments] == ["A", "B"]
    assert read("json").json()["text"] == read("text").text.strip() == TEXT
    assert read("verbose_json").json()["duration"] == 5.0
    assert "00:00:00,690" in read("srt").text
    assert read("vtt").text.startswith("WEBVTT")
    assert read("rttm").text.startswith("SPEAKER")
    assert read("docx").json()["error"]["param"] == "response_format"
    assert house.get(f"/{job['id']}/result").headers["x-served-by"] == "whisperx"
    assert len(standin.received) == 1
    (folder,) = house.folders()
    assert [path.name for path in folder.iterdir()] == ["result.json"], "more than the result"


def test_the_words_are_kept_and_speakers_only_where_they_were_asked_for(
    house: Installation, standin: StandIn
) -> None:
    job = house.made(**{"response_format": "verbose_json", "timestamp_granularities[]": "word"})
    house.start()
    house.becomes(job, "succeeded")
    told = house.get(f"/{job}/result").json()["words"]
    assert [(word["word"], word["start"], word["end"]) for word in told] == list(WORDS)
    refused = house.get(f"/{job}/result?response_format=diarized_json")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "response_format")


@pytest.fixture
def parakeet(house: Installation) -> Iterator[Parakeet]:
    """One more service, which is the first choice for what needs no speakers."""
    file = house.gateway.state / "services.d" / "parakeet.json"
    file.parent.mkdir(exist_ok=True)
    with Parakeet() as found:
        about = {"kind": "asr", "api": "parakeet", "host": "spark9"}
        file.write_text(json.dumps(about | {"base_url": f"http://127.0.0.1:{found.port}"}))
        yield found
        file.unlink()


OF_SEGMENTS = {"text": TEXT, "segments": [{"start": 0.5, "end": 2.5, "text": TEXT}]}
WITH_WORDS = "verbose_json&timestamp_granularities[]=word"
TIMED = {"srt", "vtt", "verbose_json", WITH_WORDS}


@pytest.mark.parametrize(
    ("answer", "refused"), [({"text": TEXT}, TIMED), (OF_SEGMENTS, {WITH_WORDS})]
)
def test_times_that_the_service_has_not_told_are_in_no_format_of_the_result(
    house: Installation, parakeet: Parakeet, answer: dict[str, Any], refused: set[str]
) -> None:
    parakeet.behave("ok", answer)
    job = house.made()
    house.start()
    assert house.becomes(job, "succeeded")["served_by"] == "parakeet"
    answers = {
        wanted: house.get(f"/{job}/result?response_format={wanted}")
        for wanted in ("json", "text", *TIMED)
    }
    assert {wanted for wanted, told in answers.items() if not told.ok} == refused
    for wanted in refused:
        error = answers[wanted].json()["error"]
        is_of_words = wanted == WITH_WORDS
        assert error["code"] == "no_timestamps"
        assert error["param"] == ("timestamp_granularities" if is_of_words else "response_format")


def test_what_had_no_effect_is_said_with_the_result(house: Installation, standin: StandIn) -> None:
    *lines, end = stream(speakers=False)
    said = "`prompt` had no effect."
    standin.behave("ok", [*lines, end | {"answer": end["answer"] | {"warnings": [said]}}])
    job = house.made(prompt="Ann")
    house.start()
    house.becomes(job, "succeeded")
    assert house.get(f"/{job}/result").headers["x-speech-warnings"] == said


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream": "true"}, "stream"),
        ({"language": "klingon"}, "language"),
        ({"response_format": "docx"}, "response_format"),
        ({"webhook": "https://evil.example.org/"}, "webhook"),
        ({"webhook": "http://hooks.example.org/"}, "webhook"),
        ({"webhook": "https://me@hooks.example.org/"}, "webhook"),
        ({"webhook": "https://hooks.example.org.evil.org/"}, "webhook"),
        ({"webhook": "file:///etc/passwd"}, "webhook"),
        ({"webhook": "https://hooks.example.org:8443/"}, "webhook"),
    ],
)
def test_what_cannot_be_is_refused_at_the_door(
    house: Installation, fields: dict[str, str], param: str
) -> None:
    response = house.ask(**fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert house.folders() == []


def test_a_webhook_in_json_is_looked_at_as_one_in_a_form_is(
    house: Installation, listener: Listener
) -> None:
    sound = {"data": base64.b64encode(WAV).decode(), "format": "wav"}

    def ask(webhook: object) -> requests.Response:
        body = {"input_audio": sound, "webhook": webhook}
        return requests.post(house.gateway.url + JOBS, json=body, timeout=20)

    listed = f"http://127.0.0.1:{listener.port}"
    for wrong in ("http://169.254.169.254/", [listed], {"url": listed}, 5):
        refused = ask(wrong)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "webhook"), wrong
    assert house.folders() == []
    jobs = [ask(webhook).json()["id"] for webhook in (None, f"{listed}/1", f"{listed}/2")]
    assert len(set(jobs)) == 3
    assert house.row(jobs[1]).webhook == f"{listed}/1"


def test_a_webhook_that_comes_as_a_file_is_refused(house: Installation) -> None:
    files = {"file": ("a.wav", WAV), "webhook": ("w", b"https://hooks.example.org/")}
    response = requests.post(house.gateway.url + JOBS, files=files, timeout=20)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "webhook")


def test_without_a_list_no_webhook_is_taken(gateway: Gateway) -> None:
    files = {"file": ("a.wav", WAV)}
    data = {"webhook": "https://hooks.example.org/"}
    response = requests.post(gateway.url + JOBS, data, files=files, timeout=20)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "webhook")
    assert "SPEECH_WEBHOOK_HOSTS" in response.json()["error"]["message"]


def test_the_same_again_is_the_same_job_while_it_is_not_over(house: Installation) -> None:
    first = house.made()
    again = house.ask()
    assert (again.status_code, again.json()["id"]) == (202, first)
    assert house.made(language="de") != first
    house.start()
    house.becomes(first, "succeeded")
    assert house.made() != first


def test_with_an_idempotency_key_it_is_the_same_also_when_it_is_over(house: Installation) -> None:
    named = {"Idempotency-Key": secrets.token_hex(8)}
    first = house.ask(WAV, named).json()["id"]
    assert house.made() != first
    other = house.ask(canonical_wav(4), named)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    house.start()
    house.becomes(first, "succeeded")
    again = house.ask(WAV, named)
    assert (again.status_code, again.json()["id"]) == (200, first)
    other = house.ask(canonical_wav(4), named)
    assert other.status_code == 422


def test_a_key_sees_its_own_jobs_alone_and_the_house_sees_all(house: Installation) -> None:
    keys = [key_of(house, secrets.token_hex(4)) for _ in range(2)]
    jobs = [house.ask(WAV, key).json()["id"] for key in keys]
    assert jobs[0] != jobs[1]
    for mine, other, key in zip(jobs, reversed(jobs), keys, strict=True):
        assert [job["id"] for job in house.get(**key).json()["data"]] == [mine]
        assert house.get(f"/{mine}", **key).status_code == 200
        for path in (f"/{other}", f"/{other}/result", f"?after={other}"):
            assert house.get(path, **key).status_code == 404
        assert house.delete(other, **key) == 204
        assert house.get(f"/{other}").status_code == 200, "it took another one's away"
    assert {job["id"] for job in house.get().json()["data"]} == set(jobs)


def test_the_list_comes_in_pages(house: Installation) -> None:
    jobs = [house.made(canonical_wav(seconds)) for seconds in (1, 2, 3)]
    first = house.get("?limit=2").json()
    assert ([job["id"] for job in first["data"]], first["has_more"]) == (jobs[:0:-1], True)
    rest = house.get(f"?limit=2&after={first['data'][-1]['id']}").json()
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == (jobs[:1], False)
    assert house.get("?limit=1000").status_code == 400


def test_more_than_may_wait_are_429(house: Installation) -> None:
    key = key_of(house, "many")
    for seconds in (1, 2, 3):
        assert house.ask(canonical_wav(seconds), key).status_code == 202
    refused = house.ask(canonical_wav(4), key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_jobs")
    assert house.ask(canonical_wav(3), key).status_code == 202, "it is there already"
    for seconds in (1, 2):
        assert house.ask(canonical_wav(seconds)).status_code == 202
    in_all = house.ask(canonical_wav(3))
    assert in_all.status_code == 429
    assert len(house.folders()) == 5


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


def test_results_are_removed_after_their_time(house: Installation) -> None:
    job = house.made()
    house.start()
    house.becomes(job, "succeeded")
    house.change(job, finished_at=time.time() - 73 * 3600)
    house.end()
    house.start()
    house.becomes(job, "expired")
    assert eventually(lambda: not house.folders())
    gone = house.get(f"/{job}/result")
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "job_expired")


def test_a_webhook_is_not_told_twice_because_the_database_is_full(
    house: Installation, listener: Listener
) -> None:
    job = house.made(webhook=f"http://127.0.0.1:{listener.port}/done")
    with house.refusing("NEW.webhook_tries > OLD.webhook_tries"):
        house.start()
        assert house.logs(f"audio job {job}: IntegrityError")
        other = house.made(canonical_wav(4), webhook=f"http://127.0.0.1:{listener.port}/other")
        assert eventually(lambda: len(listener.heard) > 1, 30)
        assert house.becomes(other, "succeeded")
    assert eventually(lambda: house.row(job).webhook_at is None, 30)
    told = [json.loads(body)["data"]["id"] for _, body in listener.heard]
    assert sorted(told) == sorted([job, other])


def test_a_webhook_is_told_of_the_end_and_can_tell_whose_it_is(
    house: Installation, listener: Listener
) -> None:
    listener.statuses[:] = [302, 500]
    job = house.made(webhook=f"http://127.0.0.1:{listener.port}/done?x=1")
    house.start()
    house.becomes(job, "succeeded")
    for tries in (1, 2):
        assert eventually(lambda count=tries: house.row(job).webhook_tries == count, 30)  # type: ignore[misc]
        assert (house.row(job).webhook_at or 0) > time.time(), "it is not tried again"
        house.change(job, webhook_at=0.0)
    assert eventually(lambda: house.row(job).webhook_at is None, 30)
    assert len(listener.heard) == 3, "a redirect was followed"
    headers, body = listener.heard[0]
    told = json.loads(body)
    assert (told["type"], told["data"]["id"]) == ("audio.job.succeeded", job)
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert {about["webhook-id"] for about, _ in listener.heard} == {f"msg_{job}"}

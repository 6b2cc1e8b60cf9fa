"""POST /v1/audio/jobs: how they are asked for, whose they are, and what is read of them."""

import base64
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.api.audio_house import JOBS, TEXT, WAV, Installation, key_of
from tests.api.conftest import eventually
from tests.api.recordings import canonical_wav
from tests.api.test_known_speakers import NAMES, OTHER, REFERENCES, VOICE, data_url
from tests.standins.upstream_parakeet import Parakeet
from tests.standins.upstream_whisperx import WORDS, StandIn, stream


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
    ],
)
def test_what_cannot_be_is_refused_at_the_door(
    house: Installation, fields: dict[str, str], param: str
) -> None:
    response = house.ask(**fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert house.folders() == []


def test_the_same_again_is_the_same_job_while_it_is_not_over(house: Installation) -> None:
    first = house.made()
    again = house.ask()
    assert (again.status_code, again.json()["id"]) == (202, first)
    assert house.made(language="de") != first
    house.start()
    house.becomes(first, "succeeded")
    assert house.made() != first


def test_jobs_in_json_with_other_voices_are_other_jobs(house: Installation) -> None:
    sound = {"data": base64.b64encode(WAV).decode(), "format": "wav"}
    asked = {"input_audio": sound, "response_format": "diarized_json", NAMES: ["Ann"]}

    def ask(voice: bytes) -> str:
        body = asked | {REFERENCES: [data_url(voice)]}
        made = requests.post(house.gateway.url + JOBS, json=body, timeout=20)
        assert made.status_code == 202, made.text
        job: str = made.json()["id"]
        return job

    assert ask(VOICE) == ask(VOICE) != ask(OTHER)


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

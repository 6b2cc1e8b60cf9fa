"""POST /v1/audio/jobs as programs use it: asked for, looked at until it is done, read, removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from proxy_app.watch.clip import SPOKEN
from proxy_app.watch.words import likeness
from tests.api.conftest import eventually
from tests.clients.home import CLIENT_WITHIN_S, Home

HEARD = 0.8
JOBS = "/audio/jobs"


def ask(at: Home, clip: Path, **fields: str) -> dict[str, Any]:
    """A job for the clip, as the 202 shows it."""
    files = {"file": ("meeting.wav", clip.read_bytes(), "application/octet-stream")}
    answer = at.post(JOBS, data=fields, files=files)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == job["url"] == f"/v1{JOBS}/{job['id']}"
    return job


def followed(at: Home, job: dict[str, Any]) -> list[dict[str, Any]]:
    """All states that a program sees that looks until the job is over."""
    seen: list[dict[str, Any]] = []

    def is_over() -> bool:
        seen.append(at.get(f"{JOBS}/{job['id']}", **at.bearer).json())
        return seen[-1]["status"] not in ("queued", "running")

    assert eventually(is_over, CLIENT_WITHIN_S), seen[-1]
    return seen


def result(at: Home, job: dict[str, Any], wanted: str = "") -> requests.Response:
    query = f"?response_format={wanted}" if wanted else ""
    return at.get(f"{JOBS}/{job['id']}/result{query}", **at.bearer)


def test_a_recording_becomes_a_job_whose_result_comes_in_every_format(at: Home, clip: Path) -> None:
    before = at.worked()
    fields = {"model": "gpt-4o-transcribe-diarize", "response_format": "diarized_json"}
    job = ask(at, clip, **fields, language="en", chunking_strategy="auto")
    assert (job["status"], job["served_by"], job["model"]) == ("queued", None, fields["model"])
    seen = followed(at, job)
    done = seen[-1]
    assert (done["status"], done["served_by"]) == ("succeeded", "whisperx")
    lengths = [state["progress"]["done_s"] for state in seen]
    assert lengths == sorted(lengths)
    assert done["progress"]["done_s"] == done["progress"]["total_s"] > 1
    said = result(at, job).json()
    assert {segment["speaker"] for segment in said["segments"]} == {"A"}
    for wanted in ("json", "verbose_json", "diarized_json"):
        assert likeness(SPOKEN, result(at, job, wanted).json()["text"]) > HEARD, wanted
    assert likeness(SPOKEN, result(at, job, "text").text) > HEARD
    assert "-->" in result(at, job, "srt").text
    assert result(at, job, "vtt").text.startswith("WEBVTT")
    assert result(at, job, "rttm").text.startswith("SPEAKER ")
    assert at.worked() == before + 1, "a format costs work"
    assert job["id"] in [it["id"] for it in at.get(JOBS, **at.bearer).json()["data"]]
    for _ in range(2):
        assert at.delete(f"{JOBS}/{job['id']}").status_code == 204
    assert at.get(f"{JOBS}/{job['id']}", **at.bearer).status_code == 404
    assert result(at, job).status_code == 404


def test_openais_sdk_sends_and_reads_jobs_by_their_address(
    client: openai.OpenAI, clip: Path
) -> None:
    """It knows no jobs, but takes any address."""
    job = client.post(
        JOBS, cast_to=dict[str, Any], body={"model": "whisper-1", "response_format": "text"},
        files={"file": ("meeting.wav", clip.read_bytes())},
        options={"headers": {"Content-Type": "multipart/form-data"}},
    )  # fmt: skip
    address = f"{JOBS}/{job['id']}"
    assert eventually(
        lambda: client.get(address, cast_to=dict[str, Any])["status"] == "succeeded",
        CLIENT_WITHIN_S,
    )
    assert likeness(SPOKEN, client.get(f"{address}/result", cast_to=str)) > HEARD
    client.delete(address, cast_to=type(None))
    with pytest.raises(openai.NotFoundError):
        client.get(address, cast_to=dict[str, Any])


def test_what_cannot_be_done_is_told_by_the_job_and_by_its_result(at: Home, tmp_path: Path) -> None:
    nothing = tmp_path / "meeting.wav"
    nothing.write_bytes(b"no sound at all " * 99)
    job = ask(at, nothing)
    done = followed(at, job)[-1]
    assert (done["status"], done["finished_at"] is None) == ("failed", False)
    failed = result(at, job)
    error = failed.json()["error"]
    assert failed.status_code == 400
    assert {name: error[name] for name in done["error"]} == done["error"]


def test_who_asked_for_it_is_told_of_the_end_and_can_tell_whose_word_it_is(
    at: Home, clip: Path
) -> None:
    job = ask(at, clip, webhook=f"{at.listener.url}/done")
    done = followed(at, job)[-1]
    told = at.listener.heard
    assert eventually(lambda: told, 30)
    ((headers, body),) = told
    assert at.listener.is_signed(headers, body)
    assert json.loads(body) == {
        "type": "audio.job.succeeded", "timestamp": json.loads(body)["timestamp"], "data": done,
    }  # fmt: skip


def test_jobs_need_a_key(at: Home, clip: Path) -> None:
    files = {"file": ("meeting.wav", clip.read_bytes())}
    assert at.post(JOBS, headers={}, files=files).status_code == 401
    assert at.get(JOBS).status_code == 401

"""Webhooks of audio jobs: which are taken, and how they are told."""

import base64
import json
import time

import pytest
import requests

from tests.api.audio_house import JOBS, WAV, Installation
from tests.api.conftest import Gateway, eventually
from tests.api.recordings import canonical_wav
from tests.standins.listener import Listener


@pytest.mark.parametrize(
    "webhook",
    [
        "https://evil.example.org/",
        "http://hooks.example.org/",
        "https://me@hooks.example.org/",
        "https://hooks.example.org.evil.org/",
        "file:///etc/passwd",
        "https://hooks.example.org:8443/",
    ],
)
def test_who_is_not_on_the_list_is_refused_at_the_door(house: Installation, webhook: str) -> None:
    response = house.ask(webhook=webhook)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "webhook")
    assert house.folders() == []


def test_a_webhook_in_json_is_looked_at_as_one_in_a_form_is(
    house: Installation, listener: Listener
) -> None:
    sound = {"data": base64.b64encode(WAV).decode(), "format": "wav"}

    def ask(webhook: object) -> requests.Response:
        body = {"input_audio": sound, "webhook": webhook}
        return requests.post(house.gateway.url + JOBS, json=body, timeout=20)

    listed = listener.url
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


def test_a_webhook_is_not_told_twice_because_the_database_is_full(
    house: Installation, listener: Listener
) -> None:
    job = house.made(webhook=f"{listener.url}/done")
    with house.refusing("NEW.webhook_tries > OLD.webhook_tries"):
        house.start()
        assert house.logs(f"audio job {job}: IntegrityError")
        other = house.made(canonical_wav(4), webhook=f"{listener.url}/other")
        assert eventually(lambda: len(listener.heard) > 1, 30)
        assert house.becomes(other, "succeeded")
    assert eventually(lambda: house.row(job).webhook_at is None, 30)
    told = [json.loads(body)["data"]["id"] for _, body in listener.heard]
    assert sorted(told) == sorted([job, other])


def test_a_webhook_is_told_of_the_end_and_can_tell_whose_it_is(
    house: Installation, listener: Listener
) -> None:
    listener.statuses[:] = [302, 500]
    job = house.made(webhook=f"{listener.url}/done?x=1")
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
    assert listener.is_signed(headers, body)
    assert {about["webhook-id"] for about, _ in listener.heard} == {f"msg_{job}"}

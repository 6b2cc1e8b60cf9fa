"""The service fails in every way it can; clients get one shape, and the truth."""

import contextlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from proxy_app.speech import LANGUAGES
from tests.api.conftest import Gateway, eventually, free_port, running
from tests.api.recordings import canonical_wav
from tests.standins.upstream_whisperx import StandIn

PATH = "/api/audio/transcribe-with-speakers"


@pytest.mark.parametrize("behaviour", ["500", "502", "503", "half", "reset"])
def test_a_failing_service_is_503_with_a_time_to_retry(
    gateway: Gateway, standin: StandIn, behaviour: str
) -> None:
    standin.behave(behaviour, {"error": {"message": "CUDA error: device-side assert triggered"}})
    response = gateway.transcribe()
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "60"
    assert response.headers["retry-after-ms"] == "59000"
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("service_unavailable_error", "upstream_unavailable")
    assert "CUDA" not in response.text
    assert len(standin.received) == 1, "a recording that broke the service was sent again"
    standin.behave("ok")
    assert gateway.transcribe().status_code == 200


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", PATH])
@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"", b"[1]", {"segments": "none"}, {"segments": [{"text": 5}]}, b"[" * 9999],
)
def test_an_answer_that_makes_no_sense_is_503(
    gateway: Gateway, standin: StandIn, path: str, answer: object
) -> None:
    standin.behave("200", answer)
    assert gateway.transcribe(None, path).status_code == 503


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (
            413,
            {"error": {"message": "needs 40 GB of memory", "code": "too_long"}},
            ("needs 40 GB of memory", None, "too_long"),
        ),
        (
            400,
            {"error": {"message": "no", "param": "language", "code": "unsupported_language"}},
            ("no", "language", "unsupported_language"),
        ),
        (
            400,
            {"error": {"message": "no", "param": {"x": 1}, "code": "x" * 65}},
            ("no", None, "upstream_rejected"),
        ),
        (
            400,
            {"error": {"message": "no", "param": "a\nb", "code": 7}},
            ("no", None, "upstream_rejected"),
        ),
        (400, {"detail": "not known"}, ("not known", None, "upstream_rejected")),
        (
            400,
            {"error": {"message": ", ".join(LANGUAGES), "param": "language"}},
            (", ".join(LANGUAGES), "language", "upstream_rejected"),
        ),
        (422, {"error": "text of an error"}, ("text of an error", None, "upstream_rejected")),
        (
            429,
            {"detail": [{"loc": ["x"]}]},
            ("refused the request (status 429)", None, "upstream_rejected"),
        ),
    ],
)
def test_what_the_service_refuses_keeps_its_status_and_words(
    gateway: Gateway,
    standin: StandIn,
    status: int,
    answer: object,
    expected: tuple[str, str | None, str],
) -> None:
    standin.behave(str(status), answer)
    response = gateway.transcribe()
    error = response.json()["error"]
    assert response.status_code == status
    message, *rest = expected
    assert message in error["message"]
    assert [error["param"], error["code"]] == rest


@pytest.mark.parametrize("answer", ["7", "soon"])
def test_a_busy_services_own_time_to_retry_is_passed_on(
    gateway: Gateway, standin: StandIn, answer: str
) -> None:
    standin.behave("429", {"error": {"message": "40 min of audio are waiting", "code": "busy"}})
    standin.headers = {"Retry-After": answer}
    for response in (gateway.transcribe(), gateway.transcribe(stream="true")):
        assert response.status_code == 429
        assert response.json()["error"]["code"] == "busy"
        assert response.headers.get("Retry-After") == (answer if answer.isdigit() else "10")


def test_a_refusal_before_the_upload_ended_is_understood(
    gateway: Gateway, standin: StandIn
) -> None:
    standin.behave("early")
    response = gateway.transcribe()
    assert response.status_code == 413
    assert "too long for this device" in response.json()["error"]["message"]


@pytest.mark.parametrize("status", ["301", "307", "401", "403", "404"])
def test_a_service_that_is_registered_wrongly_is_502_without_retries(
    gateway: Gateway, standin: StandIn, status: str
) -> None:
    standin.behave(status, {"detail": "no"})
    response = gateway.transcribe()
    assert response.status_code == 502
    assert response.headers["x-should-retry"] == "false"
    assert len(standin.received) == 1, "a redirect was followed"


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_the_time_limit_ends_the_whole_call(
    strict_gateway: Gateway, standin: StandIn, behaviour: str
) -> None:
    standin.behave(behaviour)
    response = strict_gateway.transcribe()
    assert response.status_code == 504
    assert response.headers["x-should-retry"] == "false"
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "time_limit")
    assert standin.hung_up.wait(10), "the service's connection stayed open"
    standin.behave("ok")
    assert strict_gateway.transcribe().status_code == 200
    assert eventually(lambda: not strict_gateway.files())


def test_no_service_at_the_address_is_503(standin: StandIn, tmp_path: Path) -> None:
    with running(tmp_path, free_port(), SPEECH_WORKERS="1") as gateway:
        response = gateway.transcribe()
        assert response.status_code == 503
        assert "cannot be reached" in response.json()["error"]["message"]
        ready = gateway.get("/readyz")
        assert (ready.status_code, "unreachable" in ready.text) == (503, True)


def test_without_a_service_the_answer_says_so(standin: StandIn, tmp_path: Path) -> None:
    with running(tmp_path, 1, SPEECH_WORKERS="1", WHISPERX_HOST="") as gateway:
        response = gateway.transcribe()
        assert (response.status_code, response.json()["error"]["code"]) == (503, "no_service")
        assert gateway.get("/readyz").status_code == 503
        assert gateway.get("/livez").status_code == 200


def test_by_default_a_service_gets_many_requests_and_queues_them_itself(
    standin: StandIn, tmp_path: Path
) -> None:
    standin.behave("hang")
    with (
        running(tmp_path, standin.port, SPEECH_WORKERS="1") as gateway,
        ThreadPoolExecutor(8) as pool,
    ):
        jobs = [pool.submit(gateway.transcribe, canonical_wav(n + 1), PATH) for n in range(8)]
        assert eventually(lambda: standin.working == 8)
        standin.release.set()
        assert [job.result().status_code for job in jobs] == [200] * 8


def test_with_one_place_a_service_gets_one_request_at_a_time_and_others_wait(
    gateway: Gateway, standin: StandIn
) -> None:
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(gateway.transcribe, canonical_wav(n + 1)) for n in range(6)]
        statuses = [job.result().status_code for job in jobs]
    assert statuses == [200] * 6
    assert standin.most_at_once == 1


def test_a_request_that_finds_no_place_in_time_gets_429(gateway: Gateway, standin: StandIn) -> None:
    standin.behave("hang")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(gateway.transcribe, None, PATH)
        assert standin.started.wait(10)
        second = gateway.transcribe(canonical_wav(1))
        standin.release.set()
        assert first.result().status_code == 200
    assert second.status_code == 429
    assert int(second.headers["Retry-After"]) >= 1
    error = second.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")
    assert len(standin.received) == 1


def test_a_killed_worker_frees_its_place_and_its_files(standin: StandIn, tmp_path: Path) -> None:
    settings = {"SPEECH_WORKERS": "1", "SPEECH_QUEUE_DEADLINE_S": "5"}
    with running(tmp_path, standin.port, **settings) as gateway:
        standin.behave("hang")
        client = threading.Thread(target=ignore_errors, args=(gateway,))
        client.start()
        assert standin.started.wait(10)
        assert gateway.files()
        (worker,) = gateway.workers()
        os.kill(worker, signal.SIGKILL)
        client.join()
        assert standin.hung_up.wait(10)
        standin.behave("ok")
        assert eventually(lambda: gateway.workers() not in ([], [worker]))
        assert gateway.transcribe().status_code == 200
        assert eventually(lambda: not gateway.files())


def ignore_errors(gateway: Gateway) -> None:
    """A client whose worker dies under it."""
    with contextlib.suppress(requests.RequestException):
        gateway.transcribe()

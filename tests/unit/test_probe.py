"""Asking a service how it is: whatever happens, an answer, and no key in it or in the log."""

import contextlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from proxy_app.services import Service
from proxy_app.services.health import READY, SUSPECT, UNREACHABLE, WARMING
from proxy_app.upstreams import Client, Probe, UnavailableError, probe
from tests.standins.upstream_parakeet import Parakeet, Sortformer


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens, and nobody else will."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def service(port: int, key: str | None = None) -> Service:
    url = f"http://127.0.0.1:{port}"
    return Service("asr", "ASR", "asr", "parakeet", url, "127.0.0.1", api_key=key)


@pytest.mark.parametrize("key", ["hunter2\n", "hunter2\u20ac", "hunter2\0"])
def test_a_key_that_fits_into_no_header_is_nowhere_told(
    closed_port: int, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    health = Probe(Client())(service(closed_port, key))
    assert health.state in (UNREACHABLE, SUSPECT)
    assert "hunter2" not in health.detail
    assert "hunter2" not in caplog.text


def test_who_is_there_and_does_not_answer_in_time_may_be_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        health = Probe(Client())(service(silent.getsockname()[1]))
    assert (health.state, health.ready) == (SUSPECT, False)
    assert "no answer within 0.4 s" in health.detail


def test_where_nobody_listens_the_service_is_unreachable(closed_port: int) -> None:
    health = Probe(Client())(service(closed_port))
    assert (health.state, health.is_silent) == (UNREACHABLE, False)


@contextlib.contextmanager
def listening(backlog: int) -> Iterator[int]:
    """A port where connections are taken by nobody; its line is full where backlog is 0."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
        port: int = listener.getsockname()[1]
        for _ in range(0 if backlog else 4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                caller.connect(("127.0.0.1", port))
        yield port


@pytest.mark.parametrize(("backlog", "state"), [(9, SUSPECT), (0, UNREACHABLE)])
def test_one_that_hangs_and_one_whose_host_is_off_are_silent(backlog: int, state: str) -> None:
    with listening(backlog) as port:
        health = Probe(Client())(service(port))
    assert (health.state, health.is_silent) == (state, True)


def test_a_failure_is_logged_by_its_kinds_only(closed_port: int) -> None:
    with pytest.raises(UnavailableError, match="Connection refused") as raised:
        Client().get(service(closed_port), "/health", timeout_s=2)
    assert "cannot be reached" in raised.value.message
    with pytest.raises(UnavailableError, match="ValueError") as raised:
        Client().get(service(closed_port, "hunter2\n"), "/health", timeout_s=2)
    assert "hunter2" not in str(raised.value)


def test_even_a_mistake_of_our_own_does_not_hide_the_other_services(
    closed_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_about: object, **_more: object) -> None:
        raise ValueError("Bearer hunter2")

    client = Client()
    monkeypatch.setattr(client, "get", fail)
    health = Probe(client)(service(closed_port))
    assert (health.state, "ValueError" in health.detail) == (SUSPECT, True)
    assert "ValueError" in caplog.text
    assert "hunter2" not in health.detail + caplog.text


@pytest.mark.parametrize(
    ("status", "answer", "state", "said"),
    [
        (200, {"model": "p"}, READY, ""),
        (200, b"OK", READY, ""),
        (200, [1], READY, ""),
        (200, {"model_loaded": False, "detail": "loading p"}, WARMING, "loading p"),
        (503, {"detail": "Fetching the model."}, WARMING, "Fetching the model."),
        (503, b"", WARMING, "answers 503"),
        (404, {"detail": "Not Found"}, SUSPECT, "answers 404"),
    ],
)
def test_a_parakeet_and_a_diarizer_are_ready_when_they_say_so(
    status: int, answer: object, state: str, said: str
) -> None:
    for standin, api in ((Parakeet(), "parakeet"), (Sortformer(), "sortformer")):
        with standin:
            standin.health = (status, answer)
            health = Probe(Client())(replace(service(standin.port), api=api))
        assert health.state == state
        assert said in health.detail


def test_a_diarizer_tells_its_model_and_the_longest_recording_that_it_takes() -> None:
    with Sortformer() as standin:
        standin.health = (200, {"model": "v1", "max_seconds": 480.0})
        health = Probe(Client())(replace(service(standin.port), api="sortformer"))
        assert (health.model, health.max_audio_s) == ("v1", 480.0)
        for nonsense in ("long", -1, 0, None, True):
            standin.health = (200, {"max_seconds": nonsense})
            probed = Probe(Client())(replace(service(standin.port), api="sortformer"))
            assert probed.max_audio_s is None

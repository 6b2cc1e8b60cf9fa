"""Asking a service how it is: whatever happens, an answer, and no key in it or in the log."""

import logging
import socket
from collections.abc import Iterator

import pytest

from proxy_app.services import Service
from proxy_app.services.health import SUSPECT, UNREACHABLE
from proxy_app.upstreams import Client, Probe, UnavailableError


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


def test_a_failure_is_logged_by_its_kinds_only(closed_port: int) -> None:
    with pytest.raises(UnavailableError, match="Connection refused") as raised:
        Client().get(service(closed_port), "/health", timeout_s=2)
    assert "cannot be reached" in raised.value.message
    with pytest.raises(UnavailableError, match="InvalidHeader") as raised:
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

"""What a service is taken for that does not answer."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from proxy_app.services import Service
from proxy_app.services.health import SUSPECT, UNREACHABLE
from proxy_app.upstreams import Client, Probe


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
        service = Service("asr", "ASR", "asr", "parakeet", f"http://127.0.0.1:{port}", "127.0.0.1")
        health = Probe(Client())(service)
    assert (health.state, health.is_silent) == (state, True)


def test_one_that_refuses_is_not_silent() -> None:
    service = Service("asr", "ASR", "asr", "parakeet", "http://127.0.0.1:1", "127.0.0.1")
    health = Probe(Client())(service)
    assert (health.state, health.is_silent) == (UNREACHABLE, False)

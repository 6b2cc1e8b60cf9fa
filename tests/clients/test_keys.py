"""What no client library sends, byte by byte, at a gateway that asks for a key."""

from __future__ import annotations

import socket

import pytest

from tests.clients.home import Home

ROUTES = [
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/asr"),
    ("GET", "/metrics"),
    ("GET", "/v1/nothing"),
]


def status(at: Home, line: str, *headers: str) -> int:
    """What a request without a body gets that is written as it stands here."""
    head = "".join(f"{it}\r\n" for it in (line, *headers, "Connection: close", ""))
    with socket.create_connection(("127.0.0.1", at.wire.port), timeout=30) as client:
        client.sendall(head.encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    return int(answer.split()[1])


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_two_keys_are_none_and_one_is_enough(at: Home, method: str, path: str) -> None:
    line, host = f"{method} {path} HTTP/1.1", "Host: localhost"
    good, bad = f"Authorization: Bearer {at.key}", f"Authorization: Bearer {at.key}x"
    assert status(at, line, host, good) not in (401, 403)
    for both in ((good, bad), (bad, good), (good, good)):
        assert status(at, line, host, *both) in (400, 401)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_way_of_naming_the_address_opens_it(at: Home, method: str, path: str) -> None:
    for target, host in (
        (path, "localhost/livez?"),
        (path, "localhost/?"),
        (f"http://localhost{path}", "localhost"),
        (f"http://localhost/livez/..{path}", "localhost"),
        (f"{path}#/livez", "localhost"),
        (path, "evil.example"),
        (path, ""),
    ):
        got = status(at, f"{method} {target} HTTP/1.1", f"Host: {host}")
        assert got in (303, 400, 401, 421), (target, host)  # 303 is the way to the login
    for host in ("evil/?", "evil.example", "localhost.evil.example"):
        line, key = f"{method} {path} HTTP/1.1", f"Authorization: Bearer {at.key}"
        assert status(at, line, f"Host: {host}", key) in (400, 421)

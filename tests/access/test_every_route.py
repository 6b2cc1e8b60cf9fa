"""What programs use, route by route: nobody gets in without a key, however the path is spelled.

The routes are those that there are: a new one is looked at as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from proxy_app.access.keys import PREFIX
from proxy_app.gateway import EXTENSION, Gateway
from tests.access.conftest import PASSWORD

ELSEWHERE = "http://192.0.2.7:8080"
UNKNOWN = ("/v1", "/v1/", "/v1/nothing", "/v1/audio/nothing", "/v1/realtime", "/v1/files")


@pytest.fixture
def key(locked: Flask) -> Iterator[str]:
    gateway: Gateway = locked.extensions[EXTENSION]
    secret, made = gateway.keys.make("every route")
    yield secret
    gateway.keys.revoke(made.id)


def routes(app: Flask) -> list[tuple[str, str]]:
    """Methods and paths, with something in the place of their variables."""
    found = []
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith(("/v1/", "/asr", "/api/audio/")):
            continue
        _domain, path = rule.build(dict.fromkeys(rule.arguments, "x")) or ("", "")
        found += [(method, path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}]
    assert {("POST", "/v1/audio/transcriptions"), ("POST", "/asr"), ("GET", "/v1/models/x")} <= set(
        found
    )
    return found


def spellings(path: str) -> list[str]:
    """The same path as others than ours may read it, or as nobody does."""
    first, _slash, rest = path[1:].partition("/")
    return [
        path,
        f"{path}/",
        f"/{path}",
        path.replace("/", "//"),
        path.upper(),
        f"/{first}/./{rest}",
        f"/{first}/nothing/../{rest}",
        f"/{first}/nothing/%2e%2e/{rest}",
        f"/livez/..{path}",
        f"/livez/%2e%2e{path}",
        f"/static/..%2f{path[1:]}",
        f"{path};x=1",
        f"{path}%00",
        f"{path}?verbose=1",
        f"/%{ord(path[1]):02x}{path[2:]}",
    ]


def refused(client: FlaskClient, method: str, path: str, *headers: tuple[str, str]) -> bool:
    answer = client.open(path, method=method, base_url=ELSEWHERE, headers=list(headers))
    return answer.status_code == 401 and "WWW-Authenticate" in answer.headers


def is_closed(client: FlaskClient, method: str, path: str) -> bool:
    """Whether it is refused; a page's address leads a person to the login."""
    answer = client.open(path, method=method, base_url=ELSEWHERE)
    if path.startswith("/static/") and answer.status_code == 404:
        return True  # the files there are open, and it is none
    led = answer.status_code == 303 and answer.headers["Location"].startswith("/login")
    return led or (answer.status_code == 401 and "WWW-Authenticate" in answer.headers)


def test_no_spelling_of_any_route_is_open(locked: Flask) -> None:
    client = locked.test_client()
    for method, path in routes(locked):
        for spelling in spellings(path):
            assert is_closed(client, method, spelling), (method, spelling)
    for path in UNKNOWN:
        assert is_closed(client, "GET", path), path
        assert is_closed(client, "POST", path), path


def test_what_is_no_key_opens_no_route(locked: Flask, key: str) -> None:
    client = locked.test_client()
    for method, path in [*routes(locked), *(("GET", path) for path in UNKNOWN)]:
        for name in ("key", "api_key", "api-key", "access_token", "token", "authorization"):
            assert refused(client, method, f"{path}?{name}={key}"), (path, name)
        for name in ("Authorization", "X-Api-Key", "Api-Key", "Cookie", "Proxy-Authorization"):
            assert refused(client, method, path, (name, key)), (path, name)
        for sent in ("Bearer", "Bearer ", f"Bearer {key}x", f"Bearer {PREFIX}", f"Digest {key}"):
            assert refused(client, method, path, ("Authorization", sent)), (path, sent)


@pytest.mark.parametrize("good_one", [0, 1])
def test_two_keys_are_none(locked: Flask, key: str, good_one: int) -> None:
    """Another server in front might have read the other one."""
    client = locked.test_client()
    sent = [("Authorization", f"Bearer {PREFIX}00000000-x")] * 2
    sent[good_one] = ("Authorization", f"Bearer {key}")
    for method, path in routes(locked):
        assert refused(client, method, path, *sent), path


def test_a_wrong_password_opens_no_route(locked: Flask) -> None:
    client = locked.test_client()
    gateway: Gateway = locked.extensions[EXTENSION]
    for method, path in routes(locked):
        assert refused(client, method, path, ("Authorization", f"Bearer not {PASSWORD}")), path
        gateway.throttle.forgive("127.0.0.1")


def test_a_key_opens_each_of_them(locked: Flask, key: str) -> None:
    client = locked.test_client()
    for method, path in routes(locked):
        sent = {"Authorization": f"Bearer {key}"}
        answer = client.open(path, method=method, base_url=ELSEWHERE, headers=sent)
        assert answer.status_code not in (303, 401, 403), (method, path)


def test_with_a_key_a_wrong_method_is_405_and_a_wrong_path_404(locked: Flask, key: str) -> None:
    client, sent = locked.test_client(), {"Authorization": f"Bearer {key}"}
    taken = {path: {method for method, one in routes(locked) if one == path}
             for _, path in routes(locked)}  # fmt: skip
    taken["/metrics"] = {"GET"}
    for path, methods in taken.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
            answer = client.open(path, method=method, base_url=ELSEWHERE, headers=sent)
            assert answer.status_code == 405, (method, path)
            assert answer.json["error"]["code"] == "method_not_allowed"  # type: ignore[index]
            assert methods <= set(answer.headers["Allow"].split(", "))
            assert is_closed(client, method, path), (method, path)
    for path in (*UNKNOWN[1:], "/asr/", "/metrics/", "/metrics/x"):
        assert client.get(path, base_url=ELSEWHERE, headers=sent).status_code == 404, path
        assert is_closed(client, "GET", path), path


def test_a_wrong_method_opens_nothing_that_a_key_does_not(locked: Flask, key: str) -> None:
    client, sent = locked.test_client(), {"Authorization": f"Bearer {key}"}
    looked_at = set()
    for rule in locked.url_map.iter_rules():
        _domain, path = rule.build(dict.fromkeys(rule.arguments, "start")) or ("", "")
        if path.startswith(("/api/audio/", "/v1/", "/asr", "/metrics", "/livez", "/readyz")):
            continue
        for method in {"PUT", "PATCH", "TRACE"} - (rule.methods or set()):
            answer = client.open(path, method=method, base_url=ELSEWHERE, headers=sent)
            assert answer.status_code == 401, (method, path)
        looked_at.add(path)
    assert {"/", "/api/jobs", "/logout"} <= looked_at

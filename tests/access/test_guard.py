"""What needs the password: everything, however it is spelled, but for the doors and the probes."""

import base64
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from proxy_app.api import job_stream, live
from proxy_app.api.guard import csrf_token
from proxy_app.gateway import EXTENSION, Gateway
from proxy_app.settings import SettingError
from tests.access.conftest import (
    PASSWORD,
    application,
    claimed_link,
    know_password,
    log_in,
    token_in,
)
from tests.jobs.orders import an_order

OPEN = {"/livez", "/readyz", "/login", "/claim", "/static/<path:filename>"}
LOCAL = "http://localhost:8080"
ELSEWHERE = "http://192.0.2.7:8080"


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()}


@pytest.fixture
def client(locked: Flask) -> FlaskClient:
    return locked.test_client()


def is_turned_away(answer: TestResponse) -> bool:
    if answer.status_code == 303:
        return answer.headers["Location"].startswith("/login")
    return answer.status_code == 401 and "WWW-Authenticate" in answer.headers


def test_every_address_with_every_method_is_closed_but_for_those_that_are_listed(
    locked: Flask, client: FlaskClient
) -> None:
    seen = set()
    for rule in locked.url_map.iter_rules():
        if rule.rule in OPEN:
            continue
        path = rule.rule.replace("<name>", "x").replace("<job_id>", "x")
        path = path.replace("<any(start, stop, restart):verb>", "start")
        for method in (rule.methods or set()) | {"GET", "POST", "PUT", "DELETE", "OPTIONS"}:
            for headers in ({}, {"Origin": ELSEWHERE}, basic("wrong " + method)):
                if headers and method != "GET":
                    continue  # a wrong password is tried a few times only
                answer = client.open(path, method=method, headers=headers, base_url=ELSEWHERE)
                assert is_turned_away(answer) or answer.status_code == 429, (method, path)
        seen.add(rule.rule)
    assert {"/", "/api/jobs", "/v1/audio/transcriptions", "/logout"} <= seen


@pytest.mark.parametrize(
    "path",
    [
        *("/api/services/", "//api/services", "/api//services", "/API/services", "/api/./services"),
        *(
            "/static/../api/services",
            "/static/..%2fapi/services",
            "/%61pi/services",
            "/api/jobs%00",
        ),
        *("/livez/", "/livez/../api/services", "/login/../", "/nothing", "/static", "/v1", "/V1/x"),
        *("/readyz?verbose", "/readyz?verbose=1", "/.git/config", "/api;/services", "/claim/x"),
    ],
)
def test_no_spelling_of_a_path_gets_past(client: FlaskClient, path: str) -> None:
    for host in (ELSEWHERE, LOCAL):
        answer = client.get(path, base_url=host)
        assert answer.status_code in (404, 308) or is_turned_away(answer), answer.text
        assert "summary" not in answer.text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/login", "/claim", "/static/style.css"])
def test_doors_and_probes_are_open(client: FlaskClient, path: str) -> None:
    with client.get(path, base_url=ELSEWHERE) as answer:
        assert answer.status_code in (200, 503)


def test_a_password_that_is_set_is_asked_for_on_loopback_too(tmp_path: Path) -> None:
    know_password(tmp_path / "state")
    app = application(tmp_path)
    client = app.test_client()
    assert is_turned_away(client.get("/api/services", base_url=LOCAL))
    answer = client.get("/api/services", base_url=LOCAL, headers=basic(PASSWORD))
    assert answer.status_code == 200


def test_programs_send_the_password_as_basic_and_to_v1_as_a_key(client: FlaskClient) -> None:
    assert client.get("/api/services", headers=basic(PASSWORD)).status_code == 200
    bearer = {"Authorization": f"Bearer {PASSWORD}"}
    assert client.post("/v1/audio/transcriptions", headers=bearer).status_code == 411  # no file
    assert is_turned_away(client.get("/api/services", headers=bearer))


@pytest.mark.parametrize(
    "sent",
    [
        *("Basic", "Basic ", "Basic !!!", "Basic YWRtaW4=", "Basic YWRtaW46", "Bearer", "Digest x"),
        *("Basic " + "A" * 3000, PASSWORD, f"Basic admin:{PASSWORD}", f"Token {PASSWORD}"),
    ],
)
def test_what_is_no_password_opens_nothing(client: FlaskClient, sent: str) -> None:
    answer = client.get("/api/services", headers={"Authorization": sent})
    assert is_turned_away(answer) or answer.status_code == 429


def test_a_password_in_the_query_opens_nothing(client: FlaskClient) -> None:
    assert is_turned_away(client.get(f"/api/services?password={PASSWORD}"))


def test_a_script_without_a_session_is_refused_and_a_person_is_led_to_the_login(
    client: FlaskClient,
) -> None:
    assert client.get("/live", headers={"Sec-Fetch-Mode": "cors"}).status_code == 401
    person = client.get("/", headers={"Sec-Fetch-Mode": "navigate"})
    assert (person.status_code, person.headers["Location"]) == (303, "/login")


def test_on_loopback_this_machines_user_needs_no_password(app: Flask) -> None:
    client = app.test_client()
    for host in (LOCAL, "http://127.0.0.1:8080", "http://[::1]:8080", "http://LOCALHOST"):
        assert client.get("/api/services", base_url=host).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "localhost"), ("Via", "1.1 x")),
        *(("X-Forwarded-Proto", "https"), ("Forwarded", "for=127.0.0.1"), ("X-Real-IP", "::1")),
        *(("X-Forwarded-Server", "x"), ("CF-Connecting-IP", "127.0.0.1")),
    ],
)
def test_what_came_through_a_proxy_is_not_this_machines_user(
    app: Flask, name: str, value: str
) -> None:
    answer = app.test_client().get("/api/services", base_url=LOCAL, headers={name: value})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "password_needed")


def test_what_comes_by_http_1_0_is_not_this_machines_user(app: Flask) -> None:
    # As nginx asks by default: it has a Host of loopback then, and no header that tells of it.
    old = {"SERVER_PROTOCOL": "HTTP/1.0"}
    client = app.test_client()
    answer = client.get("/api/services", base_url="http://127.0.0.1:8080", environ_overrides=old)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "password_needed")
    assert client.get("/livez", base_url=LOCAL, environ_overrides=old).status_code == 200


def test_where_a_password_is_required_loopback_needs_one_too(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="SPEECH_PASSWORD_REQUIRED"):
        application(tmp_path, SPEECH_PASSWORD_REQUIRED="true")
    claimed_link(tmp_path)
    client = application(tmp_path, SPEECH_PASSWORD_REQUIRED="true").test_client()
    refused = client.get("/api/services", base_url=LOCAL)
    assert refused.status_code == 401
    assert "control claim" in refused.get_json()["error"]["message"]


def _log_out(client: FlaskClient, _gateway: Gateway) -> None:
    token = token_in(client.get("/login").text)
    assert client.post("/logout", data={"csrf_token": token}).status_code == 303


def _change_password(_client: FlaskClient, gateway: Gateway) -> None:
    gateway.password.put("another battery staple")


@pytest.mark.parametrize("end", [_log_out, _change_password])
@pytest.mark.parametrize("of", [live, job_stream])
def test_a_stream_ends_with_its_session(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    of: ModuleType,
    end: Callable[[FlaskClient, Gateway], None],
) -> None:
    monkeypatch.setattr(of, "PING_S", 0.05)
    know_password(tmp_path / "state")
    app = application(tmp_path)
    gateway: Gateway = app.extensions[EXTENSION]
    app.extensions["speech-live"] = live.Feed(gateway, {})
    path = "/api/live"
    if of is job_stream:
        path = f"/api/jobs/{gateway.room.jobs.add(an_order()).id}/stream"
    client = app.test_client()
    log_in(client)
    answer = client.get(path)
    pieces = answer.iter_encoded()
    assert [piece for piece in islice(pieces, 4) if piece == b": ping\n\n"]
    end(client, gateway)
    assert len(list(islice(pieces, 50))) < 50
    answer.close()


def test_a_name_that_is_allowed_is_not_this_machines_user(tmp_path: Path) -> None:
    app = application(tmp_path, SPEECH_ALLOWED_HOSTS="spark.local")
    answer = app.test_client().get("/api/services", base_url="http://spark.local")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "password_needed")


def test_a_change_by_a_browser_needs_the_pages_token(locked: Flask) -> None:
    client = locked.test_client()
    token = log_in(client)
    url = "/api/jobs/0/cancel"
    assert client.post(url).get_json()["error"]["code"] == "csrf_token"
    for wrong in ("", "x", token[:-1] + "x", "ß"):
        answer = client.post(url, headers={"x-csrf-token": wrong})
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "csrf_token")
    assert client.post(url, headers={"x-csrf-token": token}).status_code == 404
    assert client.get(url.removesuffix("/cancel")).status_code == 404  # looking needs none


def test_one_sessions_token_is_not_anothers(locked: Flask) -> None:
    first, second = locked.test_client(), locked.test_client()
    token = log_in(first)
    assert token != log_in(second)
    answer = second.post("/api/jobs/0/cancel", headers={"x-csrf-token": token})
    assert answer.get_json()["error"]["code"] == "csrf_token"


@pytest.mark.parametrize("mark", [{"Origin": LOCAL}, {"Sec-Fetch-Site": "same-origin"}])
def test_without_a_password_a_browser_needs_the_token_and_a_program_does_not(
    app: Flask, mark: dict[str, str]
) -> None:
    client = app.test_client()
    url = "/api/jobs/0/cancel"
    assert client.post(url, base_url=LOCAL).status_code == 404
    answer = client.post(url, base_url=LOCAL, headers=mark)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "csrf_token")
    with app.test_request_context(base_url=LOCAL):
        token = csrf_token()
    answer = client.post(url, base_url=LOCAL, headers=mark | {"x-csrf-token": token})
    assert answer.status_code == 404


def test_nothing_but_a_door_sets_a_cookie(client: FlaskClient) -> None:
    for path in ("/", "/login", "/claim", "/livez", "/api/services", "/nothing"):
        assert "Set-Cookie" not in client.get(path).headers


def test_the_page_has_a_way_out_for_who_has_logged_in(locked: Flask, app: Flask) -> None:
    client = locked.test_client()
    log_in(client)
    assert 'action="/logout"' in client.get("/").text
    assert 'action="/logout"' not in locked.test_client().get("/", headers=basic(PASSWORD)).text
    assert 'action="/logout"' not in app.test_client().get("/", base_url=LOCAL).text

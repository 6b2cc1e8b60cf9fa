"""Claim, log in and log out, at a gateway as people run it, with two workers."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from proxy_app.access.sessions import TRIES
from tests.access.conftest import PASSWORD, claimed_link, know_password, token_in
from tests.api.conftest import COMMAND, REPOSITORY, Gateway, environment, running

PUBLIC = {"SPEECH_HOST": "0.0.0.0", "SPEECH_ALLOWED_HOSTS": "spark.local"}
PROXY = "127.0.0.2"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doors")


@pytest.fixture(scope="module")
def token(state: Path) -> str:
    (state / "state").symlink_to(state)  # tests/access and tests/api call the folder differently
    return claimed_link(state, **PUBLIC)


@pytest.fixture(scope="module")
def gateway(state: Path, token: str) -> Iterator[Gateway]:
    """On all addresses; nobody has set its password. A proxy at PROXY is trusted."""
    with running(state, 9, SPEECH_TRUSTED_PROXIES=PROXY, **PUBLIC) as gateway:
        yield gateway


def browser(gateway: Gateway) -> requests.Session:
    session = requests.Session()
    session.headers["Origin"] = gateway.url
    return session


def send(
    session: requests.Session, gateway: Gateway, path: str, /, **fields: str
) -> requests.Response:
    """Fill in the form at a path as a person does, hidden fields included."""
    page = session.get(gateway.url + path, timeout=20).text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    url = gateway.url + path.partition("?")[0]
    return session.post(url, data=hidden | fields, timeout=20, allow_redirects=False)


def log_in(gateway: Gateway, password: str = PASSWORD, path: str = "/login") -> requests.Session:
    session = browser(gateway)
    answer = send(session, gateway, path, password=password)
    assert answer.status_code == 303, answer.text
    return session


# The tests of this page build on one another, in this order.


def test_what_nobody_has_claimed_is_closed_and_says_how_to_open_it(gateway: Gateway) -> None:
    page = gateway.get("/")
    assert (page.status_code, page.headers["Location"]) == (303, "/claim")
    assert "control claim" in gateway.get("/claim").text
    refused = gateway.get("/api/services")
    assert refused.status_code == 401
    assert "control claim" in refused.json()["error"]["message"]
    assert "WWW-Authenticate" in refused.headers
    assert send(browser(gateway), gateway, "/login", password=PASSWORD).status_code == 401


def test_a_claim_needs_the_printed_token_and_a_good_password(gateway: Gateway, token: str) -> None:
    both = {"password": PASSWORD, "again": PASSWORD}
    for link, fields, status in (
        ("/claim?token=guessed", both, 403),
        (f"/claim?token={token}", both | {"again": "another one"}, 400),
        (f"/claim?token={token}", {"password": "short", "again": "short"}, 400),
        (f"/claim?token={token}", both | {"csrf_token": "x"}, 403),
    ):
        answer = send(browser(gateway), gateway, link, **fields)
        assert (answer.status_code, 'role="alert"' in answer.text) == (status, True)
        assert "Set-Cookie" not in answer.headers


def test_the_claim_sets_the_password_logs_in_and_is_used_up(gateway: Gateway, token: str) -> None:
    session = browser(gateway)
    fields = {"password": PASSWORD, "again": PASSWORD}
    answer = send(session, gateway, f"/claim?token={token}", **fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie  # it is plain HTTP
    assert session.get(gateway.url + "/", timeout=20).ok
    fields |= {"token": token}
    again = requests.post(f"{gateway.url}/claim", data=fields, timeout=20)
    assert again.status_code == 403
    assert "has been used" in gateway.get(f"/claim?token={token}").text
    assert token not in gateway.log.read_text()


def test_who_has_the_password_gets_where_they_wanted(gateway: Gateway) -> None:
    asked = gateway.get("/nothing?a=b")
    assert asked.headers["Location"] == "/login?next=%2Fnothing%3Fa%3Db"
    session = browser(gateway)
    answer = send(session, gateway, asked.headers["Location"], password=PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/nothing?a=b")
    assert session.get(gateway.url + "/api/services", timeout=20).ok


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil", "x", "/\n"]
)
def test_a_login_leads_nowhere_else(gateway: Gateway, target: str) -> None:
    answer = send(browser(gateway), gateway, "/login", password=PASSWORD, next=target)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


def test_a_session_ends_for_good_with_logout(gateway: Gateway) -> None:
    session = log_in(gateway)
    old = dict(session.cookies)
    assert session.post(f"{gateway.url}/logout", timeout=20).status_code == 403  # no token
    fields = {"csrf_token": token_in(session.get(f"{gateway.url}/login", timeout=20).text)}
    answer = session.post(f"{gateway.url}/logout", data=fields, timeout=20, allow_redirects=False)
    assert answer.status_code == 303
    assert not session.cookies
    refused = requests.get(f"{gateway.url}/api/services", cookies=old, timeout=20)
    assert refused.status_code == 401


def test_a_page_of_another_site_cannot_log_in_nor_out(gateway: Gateway) -> None:
    for path in ("/login", "/logout", "/claim"):
        answer = requests.post(
            gateway.url + path, data={"password": PASSWORD}, timeout=20,
            headers={"Origin": "http://192.0.2.9"},  # an address, as ours is
        )  # fmt: skip
        assert answer.status_code in (401, 403)
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("body", [{"password": "x" * 20_000}, {"x": "y" * 20_000}])
def test_a_form_is_small(gateway: Gateway, body: dict[str, str]) -> None:
    assert requests.post(f"{gateway.url}/login", data=body, timeout=20).status_code in (400, 413)


def test_a_trusted_proxy_says_who_asks_and_by_which_scheme(gateway: Gateway) -> None:
    headers = {"Host": "x", "X-Forwarded-For": "6.6.6.6, 192.0.2.1", "X-Forwarded-Proto": "https",
               "X-Forwarded-Host": "spark.local"}  # fmt: skip
    said = through(gateway, PROXY, headers)
    assert said.startswith("HTTP/1.1 303")
    assert "; Secure;" in said
    assert '"client": "192.0.2.1"' in gateway.log.read_text()
    assert "6.6.6.6" not in gateway.log.read_text()


def test_nobody_elses_word_is_taken_for_who_asks(gateway: Gateway) -> None:
    headers = {"Host": "spark.local", "X-Forwarded-For": "198.51.100.9",
               "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}  # fmt: skip
    said = through(gateway, "127.0.0.3", headers)
    assert said.startswith("HTTP/1.1 303")
    assert "Secure" not in said
    assert "198.51.100.9" not in gateway.log.read_text()


def through(gateway: Gateway, source: str, headers: dict[str, str]) -> str:
    """What a login gets that comes from another address of this machine."""
    body = f"password={PASSWORD.replace(' ', '+')}"
    sent = {**headers, "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": str(len(body)), "Connection": "close"}  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    with socket.create_connection(
        ("127.0.0.1", gateway.port), timeout=20, source_address=(source, 0)
    ) as client:
        client.sendall(f"POST /login HTTP/1.1\r\n{lines}\r\n{body}".encode())
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


def test_the_command_sends_the_password_of_the_settings(gateway: Gateway, state: Path) -> None:
    environ = environment(state, gateway.port, SPEECH_ADMIN_PASSWORD=PASSWORD)
    file = state / "empty.wav"
    file.touch()
    done = subprocess.run(
        [sys.executable, "-m", "proxy_app", "demo", str(file)],
        cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "the gateway refused empty.wav: " in done.stderr
    assert "Log in" not in done.stderr


def test_a_password_is_guessed_a_few_times_and_then_all_wait(gateway: Gateway) -> None:
    session = browser(gateway)
    said = [
        send(session, gateway, "/login", password=f"wrong guess {number}")
        for number in range(TRIES + 1)
    ]
    assert [answer.status_code for answer in said] == [401] * TRIES + [429]
    assert 0 < int(said[-1].headers["Retry-After"]) <= 300
    # Neither the right one nor another way in is looked at, by any worker.
    assert send(session, gateway, "/login", password=PASSWORD).status_code == 429
    basic = requests.get(f"{gateway.url}/api/services", auth=("admin", "wrong guess"), timeout=20)
    assert (basic.status_code, basic.json()["error"]["code"]) == (429, "too_many_tries")
    assert PASSWORD not in gateway.log.read_text()
    assert "wrong guess" not in gateway.log.read_text()


def test_sessions_outlive_the_gateway_and_end_with_their_password(
    tmp_path: Path,
) -> None:
    know_password(tmp_path)
    public = PUBLIC | {"SPEECH_WORKERS": "1"}
    with running(tmp_path, 9, SPEECH_ADMIN_PASSWORD=PASSWORD, **public) as first:
        cookie = next(iter(log_in(first).cookies)).value or ""
    for password, status in ((PASSWORD, 200), ("another password", 401)):
        with running(tmp_path, 9, SPEECH_ADMIN_PASSWORD=password, **public) as again:
            sent = {f"speech-{again.port}": cookie}
            answer = requests.get(f"{again.url}/api/services", cookies=sent, timeout=20)
            assert answer.status_code == status


def test_it_does_not_start_on_a_public_address_without_a_password(tmp_path: Path) -> None:
    for more, said in (
        ({}, "SPEECH_HOST='0.0.0.0': others reach this address, and there is no password"),
        ({"SPEECH_ADMIN_PASSWORD": "hunter2"}, "SPEECH_ADMIN_PASSWORD=(hidden): expected 10 to"),
        ({"SPEECH_TRUSTED_PROXIES": "0.0.0.0/0"}, "SPEECH_TRUSTED_PROXIES='0.0.0.0/0': list the"),
    ):
        environ = environment(tmp_path, 1, SPEECH_HOST="0.0.0.0") | more
        done = subprocess.run(
            COMMAND, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=30,
            check=False,
        )  # fmt: skip
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert said in done.stderr
        assert "hunter2" not in done.stderr


def test_the_link_is_printed_until_it_was_used(tmp_path: Path) -> None:
    environ = environment(tmp_path, 8099, SPEECH_HOST="0.0.0.0")
    command = [sys.executable, "-m", "proxy_app", "control", "claim"]
    first, second = (
        subprocess.run(
            command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    )
    assert "http://127.0.0.1:8099/claim?token=" in first
    assert first == second

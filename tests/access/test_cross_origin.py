"""Pages of other origins: which may call what programs call and read the answers, and which not."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from proxy_app.api.cross_origin import METHODS
from proxy_app.gateway import EXTENSION
from tests.access.conftest import PASSWORD, application, know_password, log_in

ELSEWHERE = "http://192.0.2.7:8080"
NOTES = "https://notes.example"
TRANSCRIBE = "/v1/audio/transcriptions"
SENT = "authorization,content-type,x-stainless-retry-count"


def house(folder: Path, origins: str) -> Flask:
    know_password(folder / "state")
    return application(folder, SPEECH_HOST="0.0.0.0", SPEECH_ADMIN_PASSWORD=PASSWORD,
                       SPEECH_ALLOWED_ORIGINS=origins)  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return house(tmp_path_factory.mktemp("shared"), f"http://localhost:3000, {NOTES}")


@pytest.fixture(scope="module")
def key(app: Flask) -> dict[str, str]:
    made, _ = app.extensions[EXTENSION].keys.make("notes")
    return {"Authorization": f"Bearer {made}"}


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def preflight(
    client: FlaskClient, path: str = TRANSCRIBE, origin: str = NOTES, wanted: str = SENT
) -> TestResponse:
    """What a browser asks before a call of a page."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST",
               "Access-Control-Request-Headers": wanted}  # fmt: skip
    return client.options(path, headers=headers, base_url=ELSEWHERE)


def granted(answer: TestResponse) -> set[str]:
    return {name.lower() for name, _ in answer.headers if name.startswith("Access-Control-")}


@pytest.mark.parametrize("origin", [NOTES, "http://localhost:3000"])
@pytest.mark.parametrize(
    "path", [TRANSCRIBE, "/v1/models", "/asr", "/v1/chat/completions", "/v1/nothing"]
)
def test_a_listed_page_is_told_without_a_key_that_it_may_call(
    client: FlaskClient, path: str, origin: str
) -> None:
    answer = preflight(client, path, origin)
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Headers"] == SENT
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Origin" in answer.headers["Vary"]
    assert "access-control-allow-credentials" not in granted(answer)


def test_every_method_that_programs_use_is_granted(app: Flask) -> None:
    theirs = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith(("/v1", "/asr"))]
    used = set().union(*(rule.methods or () for rule in theirs))
    assert used - {"OPTIONS"} <= set(METHODS.split(", "))


def test_what_is_no_list_of_headers_is_not_repeated(client: FlaskClient) -> None:
    answer = preflight(client, wanted="authorization; x")
    assert "access-control-allow-headers" not in granted(answer)


def test_a_listed_page_reads_whatever_the_answer_is(
    client: FlaskClient, key: dict[str, str]
) -> None:
    page = {"Origin": NOTES}
    for answer, status in (
        (client.get("/v1/models", headers=page | key, base_url=ELSEWHERE), 200),
        (client.post(TRANSCRIBE, headers=page | key, base_url=ELSEWHERE), 411),
        (client.post("/asr", headers=page | key, base_url=ELSEWHERE), 411),
        (client.get("/v1/nothing", headers=page | key, base_url=ELSEWHERE), 404),
        (client.get(TRANSCRIBE, headers=page | key, base_url=ELSEWHERE), 405),
        (client.get("/v1/models", headers=page, base_url=ELSEWHERE), 403),
        (client.get("/v1/models", headers=page | wrong(key), base_url=ELSEWHERE), 401),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == NOTES
        readable = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"x-request-id", "x-served-by", "retry-after", "server-timing"} <= set(readable)
        assert "access-control-allow-credentials" not in granted(answer)


def wrong(key: dict[str, str]) -> dict[str, str]:
    return {"Authorization": key["Authorization"] + "x"}


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://notes.example", f"{NOTES}:8443", "null"]
)
def test_no_other_page_is_told_anything(
    client: FlaskClient, key: dict[str, str], origin: str
) -> None:
    asked = preflight(client, origin=origin)
    assert (asked.status_code, granted(asked)) == (403, set())
    answer = client.get("/v1/models", headers={"Origin": origin} | key, base_url=ELSEWHERE)
    assert (answer.status_code, granted(answer)) == (200, set())
    assert "Origin" in answer.headers["Vary"]  # it is another one for another page


def test_a_listed_page_has_nothing_of_a_persons_session(client: FlaskClient) -> None:
    token = log_in(client)  # the cookie is there from now on
    assert client.get("/v1/models").status_code == 200
    headers = {"Origin": NOTES, "x-csrf-token": token}
    for method, path in (("GET", "/v1/models"), ("POST", TRANSCRIBE), ("GET", "/api/services")):
        answer = client.open(path, method=method, headers=headers)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "foreign_origin")
    assert "Bearer" in answer.get_json()["error"]["message"]


@pytest.mark.parametrize("path", ["/", "/login", "/settings", "/api/keys", "/api/services", "/x"])
def test_what_looks_after_the_house_is_shared_with_no_page(
    client: FlaskClient, key: dict[str, str], path: str
) -> None:
    assert granted(preflight(client, path)) == set()
    answer = client.get(path, headers={"Origin": NOTES} | key, base_url=ELSEWHERE)
    assert granted(answer) == set()


def test_a_preflight_to_a_name_that_is_not_ours_is_refused(client: FlaskClient) -> None:
    headers = {"Origin": NOTES, "Access-Control-Request-Method": "GET"}
    answer = client.options("/v1/models", headers=headers, base_url="http://evil.example")
    assert answer.status_code == 421


@pytest.mark.parametrize("origin", ["https://whoever.example", "null", "app://obsidian.md"])
def test_an_asterisk_stands_for_all_pages(tmp_path: Path, origin: str) -> None:
    client = house(tmp_path, "*").test_client()
    assert preflight(client, origin=origin).headers["Access-Control-Allow-Origin"] == "*"
    refused = client.get("/v1/models", headers={"Origin": origin}, base_url=ELSEWHERE)
    assert refused.headers["Access-Control-Allow-Origin"] == "*"
    assert refused.get_json()["error"]["code"] == "foreign_origin"
    assert client.get("/v1/models", base_url=ELSEWHERE).headers["Access-Control-Allow-Origin"]


def test_without_the_setting_nothing_is_shared(locked: Flask) -> None:
    client = locked.test_client()
    assert granted(preflight(client)) == set()
    answer = client.get("/v1/models", headers={"Origin": NOTES}, base_url=ELSEWHERE)
    assert granted(answer) == set()

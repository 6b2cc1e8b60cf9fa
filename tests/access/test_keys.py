"""API keys: what they open, what they may do at most, and how they come and go."""

import base64
import contextlib
import fcntl
import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Timer

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from proxy_app.access import BadKeyError, Key, Keys, Password, RateError, Rates
from proxy_app.access.keys import PREFIX
from proxy_app.access.sessions import TRIES
from proxy_app.api.guard import _look_again
from proxy_app.cli import main
from proxy_app.gateway import EXTENSION, Gateway
from proxy_app.services import QueueFullError
from proxy_app.store import Store
from tests.access.conftest import PASSWORD, application, know_password, log_in, settings
from tests.jobs.house import eventually

ELSEWHERE = "http://192.0.2.7:8080"
LOCAL = "http://localhost:8080"
FOR_KEYS = ["/v1/models", "/metrics", "/v1/models/x/y"]


@pytest.fixture
def gateway(locked: Flask) -> Gateway:
    found: Gateway = locked.extensions[EXTENSION]
    for key in found.keys.all():
        found.keys.revoke(key.id)
    return found


@pytest.fixture
def client(locked: Flask) -> FlaskClient:
    return locked.test_client()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def basic(key: str, user: str = "speakr") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()}


@contextmanager
def flocked(path: Path) -> Iterator[None]:
    """Have a file, as another process does."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# What they open.


@pytest.mark.parametrize("way", [bearer, basic])
@pytest.mark.parametrize("path", FOR_KEYS)
def test_a_key_opens_what_programs_use_as_bearer_and_as_basics_password(
    gateway: Gateway, client: FlaskClient, way: Callable[[str], dict[str, str]], path: str
) -> None:
    key, _ = gateway.keys.make("openwebui")
    answer = client.get(path, headers=way(key), base_url=ELSEWHERE)
    assert answer.status_code in (200, 404)
    assert client.get(path, base_url=ELSEWHERE).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        *("/asr", "/v1/audio/transcriptions", "/v1/audio/translations", "/v1/audio/speech"),
        *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"),
    ],
)
def test_a_key_as_basics_password_opens_what_is_posted_to(
    gateway: Gateway, client: FlaskClient, path: str
) -> None:
    key, _ = gateway.keys.make("speakr", per_minute=1)
    turned_away = client.post(path, base_url=ELSEWHERE)
    assert turned_away.status_code == 401
    assert turned_away.headers["WWW-Authenticate"].startswith("Bearer ")
    assert turned_away.get_json()["error"]["type"] == "invalid_request_error"
    wrong = client.post(path, base_url=ELSEWHERE, headers=basic(f"{key}x"))
    assert (wrong.status_code, wrong.get_json()["error"]["code"]) == (401, "invalid_api_key")
    first, second = (client.post(path, base_url=ELSEWHERE, headers=basic(key)) for _ in range(2))
    assert first.status_code in (411, 415, 503)  # let in, and nothing was sent or is there
    assert (second.status_code, second.get_json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert "Retry-After" in second.headers


@pytest.mark.parametrize("path", ["/", "/settings", "/api/jobs", "/api/keys", "/api/services"])
def test_a_key_opens_nothing_else(gateway: Gateway, client: FlaskClient, path: str) -> None:
    key, _ = gateway.keys.make("openwebui")
    for headers in (bearer(key), basic(key)):
        answer = client.get(path, headers=headers, base_url=ELSEWHERE)
        assert answer.status_code in (303, 401), path
    assert client.post("/api/keys", json={"name": "more"}, headers=bearer(key)).status_code == 401


@pytest.mark.parametrize(
    "spelling",
    [
        *("/v1/models/", "//v1/models", "/v1//models", "/V1/models", "/v1/./models", "/v1"),
        *("/v1/%6dodels", "/v1/models%2F", "/v1/nothing", "/v1/../v1/models", "/metrics/"),
    ],
)
def test_every_spelling_of_a_path_is_guarded(
    gateway: Gateway, client: FlaskClient, spelling: str
) -> None:
    for sent in ({}, bearer(f"{PREFIX}00000000-x"), bearer("sk-proj-somebody-elses")):
        answer = client.get(spelling, headers=sent, base_url=ELSEWHERE)
        assert answer.status_code in (303, 401, 429), (spelling, sent)
        assert "served_by" not in answer.text
        gateway.throttle.forgive("127.0.0.1")


@pytest.mark.parametrize("damage", ["", "x", "-1", "last", "id", "prefix", "comma"])
def test_what_is_nearly_a_key_opens_nothing(
    gateway: Gateway, client: FlaskClient, damage: str
) -> None:
    key, known = gateway.keys.make("one")
    other, _ = gateway.keys.make("other")
    sent = {
        "": f"{PREFIX}{known.id}-",
        "x": f"{key}x",
        "-1": key[:-1],
        "last": key[:-1] + ("A" if key[-1] != "A" else "B"),
        "id": f"{PREFIX}{known.id}-{other.removeprefix(PREFIX).partition('-')[2]}",
        "prefix": key.removeprefix(PREFIX),
        "comma": f"{key},Bearer {key}",
    }[damage]
    answer = client.get("/v1/models", headers=bearer(sent), base_url=ELSEWHERE)
    assert answer.status_code == 401
    error = answer.get_json()["error"]
    assert error["code"] == "invalid_api_key"
    assert error["type"] == "invalid_request_error"
    assert "WWW-Authenticate" in answer.headers
    gateway.throttle.forgive("127.0.0.1")


def test_what_can_be_no_password_is_refused_at_once_however_often(
    gateway: Gateway, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    check = Password.check

    def noted(password: Password, given: str) -> bool:
        tried.append(given)
        return check(password, given)

    monkeypatch.setattr(Password, "check", noted)
    for sent in ("sk-proj-somebody-elses", "none", "EMPTY", "lm-studio", "x" * 300, "not-needed"):
        for _ in range(TRIES + 1):
            answer = client.get("/v1/models", headers=bearer(sent), base_url=ELSEWHERE)
            error = answer.get_json()["error"]
            assert (answer.status_code, error["code"]) == (401, "invalid_api_key"), sent
            assert error["message"].startswith("Incorrect API key provided")
            assert "retry-after" not in answer.headers
    assert tried == ["not-needed"], "only this could be a password, until it was tried"
    assert client.get("/v1/models", headers=bearer(PASSWORD)).status_code == 200


def test_where_keys_are_wanted_openais_clients_read_how_to_send_one_and_what_is_wrong(
    gateway: Gateway, client: FlaskClient
) -> None:
    missing = client.get("/v1/models", base_url=ELSEWHERE)
    assert (missing.status_code, missing.get_json()["error"]["code"]) == (401, "invalid_api_key")
    assert "`Authorization: Bearer KEY`" in missing.text
    for number in range(TRIES + 1):
        guess = f"not the password {number}"
        way = (basic if number % 2 else bearer)(guess)
        answer = client.get("/v1/models", headers=way, base_url=ELSEWHERE)
        error = answer.get_json()["error"]
        assert "API key" in error["message"]
        assert set(error) == {"message", "type", "param", "code"}
        is_last = number == TRIES
        assert answer.status_code == (429 if is_last else 401)
        assert error["code"] == ("too_many_tries" if is_last else "invalid_api_key")
    assert "Retry-After" in answer.headers
    key, _ = gateway.keys.make("right")
    assert client.get("/v1/models", headers=bearer(key), base_url=ELSEWHERE).status_code == 200
    gateway.throttle.forgive("127.0.0.1")


def test_a_password_that_looks_like_somebodys_key_is_none_of_ours(tmp_path: Path) -> None:
    password = "sk-correct horse"
    know_password(tmp_path / "state", password)
    app = application(tmp_path, SPEECH_HOST="0.0.0.0", SPEECH_ADMIN_PASSWORD=password)
    client = app.test_client()
    assert client.get("/v1/models", headers=bearer(password)).status_code == 401
    assert client.get("/v1/models", headers=basic(password)).status_code == 200


def test_a_key_in_the_query_or_a_cookie_opens_nothing(
    gateway: Gateway, client: FlaskClient
) -> None:
    key, _ = gateway.keys.make("one")
    assert client.get(f"/v1/models?api_key={key}&key={key}").status_code == 401
    client.set_cookie("speech-8080", key)
    assert client.get("/v1/models").status_code == 401


def test_on_loopback_none_is_needed_but_one_that_is_ours_must_be_right(app: Flask) -> None:
    client, keys = app.test_client(), app.extensions[EXTENSION].keys
    for sent in ({}, bearer("none"), bearer("sk-anything")):
        assert client.get("/v1/models", headers=sent, base_url=LOCAL).status_code == 200
    key, known = keys.make("one")
    assert client.get("/v1/models", headers=bearer(key), base_url=LOCAL).status_code == 200
    keys.revoke(known.id)
    answer = client.get("/v1/models", headers=bearer(key), base_url=LOCAL)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (401, "invalid_api_key")


def test_a_key_serves_where_no_password_is_set_yet(app: Flask) -> None:
    key, _ = app.extensions[EXTENSION].keys.make("one")
    proxied = {"Via": "1.1 somebody"}
    client = app.test_client()
    assert client.get("/v1/models", headers=proxied, base_url=LOCAL).status_code == 403
    answer = client.get("/v1/models", headers=proxied | bearer(key), base_url=LOCAL)
    assert answer.status_code == 200


def test_one_setting_opens_the_lists_alone(tmp_path: Path) -> None:
    know_password(tmp_path / "state")
    app = application(
        tmp_path, SPEECH_HOST="0.0.0.0", SPEECH_ADMIN_PASSWORD=PASSWORD, SPEECH_OPEN_LISTS="true"
    )
    client = app.test_client()
    assert client.get("/v1/models", base_url=ELSEWHERE).status_code == 200
    assert client.get("/v1/models/a/b", base_url=ELSEWHERE).status_code == 404
    for path in ("/v1/chat/completions", "/v1/audio/transcriptions"):
        assert client.post(path, base_url=ELSEWHERE).status_code == 401
    for path in ("/metrics", "/v1/nothing", "//v1/models", "/v1/models/"):
        assert client.get(path, base_url=ELSEWHERE).status_code in (401, 303), path
    assert client.post("/v1/models", base_url=ELSEWHERE).status_code == 401
    key, _ = app.extensions[EXTENSION].keys.make("obsidian")
    page = {"Origin": "app://obsidian.md"}
    for sent, status in ((bearer(key), 200), (bearer(f"{key}x"), 401), ({}, 403)):
        answer = client.get("/v1/models", headers=page | sent, base_url=ELSEWHERE)
        assert answer.status_code == status


# Programs that run in a page of their own.

APP_PAGES = [
    {"Origin": "app://obsidian.md"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "chrome-extension://abcdefghijklmnop", "Sec-Fetch-Site": "none"},
    {"Origin": "tauri://localhost"},
]


@pytest.mark.parametrize("page", APP_PAGES)
def test_with_a_key_as_bearer_a_program_may_run_in_whatever_page(
    gateway: Gateway, client: FlaskClient, page: dict[str, str]
) -> None:
    key, _ = gateway.keys.make("obsidian")
    sent = bearer(key) | page
    assert client.get("/v1/models", headers=sent, base_url=ELSEWHERE).status_code == 200
    posted = client.post("/v1/audio/transcriptions", headers=sent, base_url=ELSEWHERE)
    assert posted.status_code == 411, posted.text  # let in, and nothing was sent


def test_a_wrong_key_another_way_in_or_another_address_excuses_no_foreign_page(
    app: Flask, gateway: Gateway, client: FlaskClient
) -> None:
    key, known = gateway.keys.make("obsidian")
    page, url = {"Origin": "https://evil.example"}, "/v1/audio/transcriptions"
    for sent in ({}, basic(key), basic(PASSWORD), bearer(PASSWORD), bearer("sk-x")):
        answer = client.post(url, headers=page | sent, base_url=ELSEWHERE)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "foreign_origin")
    named = page | bearer(key)
    assert client.get("/v1/models", headers=named, base_url="http://evil").status_code == 421
    assert client.post("/login", headers=named, base_url=ELSEWHERE).status_code == 403
    assert client.post("/api/keys", headers=named, base_url=ELSEWHERE).status_code == 401
    gateway.keys.revoke(known.id)
    for wrong in (key, f"{PREFIX}00000000-x"):
        answer = client.post(url, headers=page | bearer(wrong), base_url=ELSEWHERE)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (401, "invalid_api_key")
    local = app.test_client()  # it needs no key
    for sent in ({}, bearer("none")):
        answer = local.post(url, headers=page | sent, base_url=LOCAL)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "foreign_origin")
        answer = local.post(url, headers=sent | {"Origin": LOCAL}, base_url=LOCAL)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "csrf_token")


def test_a_persons_session_changes_nothing_for_a_foreign_page(locked: Flask) -> None:
    client = locked.test_client()
    token = log_in(client)
    headers = {"Origin": "https://evil.example", "x-csrf-token": token}
    answer = client.post("/v1/audio/transcriptions", headers=headers)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "foreign_origin")


# What each may do at most.


def a_key(per_minute: int | None) -> Key:
    return Key("0a0b0c0d", "one", "", 0.0, None, None, per_minute)


def test_a_minutes_requests_may_come_at_once_and_then_one_by_one(tmp_path: Path) -> None:
    clock = Clock()
    rates, key = Rates(tmp_path, clock), a_key(6)
    for _ in range(6):
        rates.take(key)
    for _ in range(3):
        with pytest.raises(RateError) as raised:
            rates.take(key)
        assert raised.value.wait_s == pytest.approx(10.0)
    clock.now += 10.0
    Rates(tmp_path, clock).take(key)  # another worker
    with pytest.raises(RateError):
        rates.take(key)
    clock.now += 1e6
    for _ in range(6):
        rates.take(key)
    with pytest.raises(RateError):
        rates.take(key)


def test_a_rate_survives_neither_a_reboot_nor_a_torn_file(tmp_path: Path) -> None:
    clock = Clock()
    rates, key = Rates(tmp_path, clock), a_key(1)
    rates.take(key)
    clock.now = 5.0
    rates.take(key)
    (tmp_path / key.id).write_bytes(b"\0\0")
    rates.take(key)
    rates.take(a_key(None))


def test_too_many_a_minute_is_429_with_the_time_to_come_back(
    gateway: Gateway, client: FlaskClient
) -> None:
    key, _ = gateway.keys.make("slow", per_minute=2)
    answers = [client.get("/v1/models", headers=bearer(key)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    error = answers[-1].get_json()["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 30


def test_too_many_at_once_is_429_and_a_place_is_held_until_the_answers_end(
    gateway: Gateway, client: FlaskClient
) -> None:
    key, known = gateway.keys.make("narrow", max_in_flight=1)
    answer = client.get("/v1/models", headers=bearer(key), buffered=False)
    with pytest.raises(QueueFullError), gateway.places.hold(f"key {known.id}", 1, 0):
        pass
    refused = client.get("/v1/models", headers=bearer(key))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    answer.close()
    for _ in range(3):
        with client.get("/v1/models/nothing", headers=bearer(key)) as again:
            assert again.status_code == 404


def test_a_place_that_is_about_to_be_free_is_waited_for_by_as_many_as_may_have_one(
    gateway: Gateway, client: FlaskClient
) -> None:
    key, known = gateway.keys.make("narrow", max_in_flight=1)
    places, name = gateway.places, f"key {known.id}"
    with ExitStack() as held:
        held.enter_context(places.hold(name, 1, 0))
        leaving = Timer(0.1, held.close)
        leaving.start()
        assert client.get("/v1/models", headers=bearer(key)).status_code == 200
        leaving.join()
    with places.hold(name, 1, 0), flocked(gateway.config.state_dir / f"places/waiting/{name}.0"):
        # Another one waits already.
        refused = client.get("/v1/models", headers=bearer(key))
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert not places.wanted(name)


# How they come and go.


def test_the_database_has_no_secret_and_a_revoked_key_opens_nothing(store: Store) -> None:
    keys = Keys(store)
    secret, made = keys.make("one", max_in_flight=3)
    assert keys.find(secret) is not None
    assert secret.removeprefix(f"{PREFIX}{made.id}-") not in str(keys.all())
    (listed,) = keys.all()
    assert (listed.id, listed.name, listed.max_in_flight) == (made.id, "one", 3)
    assert keys.revoke("one")
    assert not keys.revoke("one")
    assert keys.find(secret) is None


def test_whatever_is_sent_is_compared_in_a_time_that_tells_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare_digest(sent: str, expected: str) -> bool:
        compared.append((sent, expected))
        return sent == expected

    keys = Keys(store)
    secret, made = keys.make("one")
    monkeypatch.setattr("proxy_app.access.keys.hmac.compare_digest", compare_digest)
    assert keys.find(secret) is not None
    for wrong in (secret + "x", f"{PREFIX}{made.id}-", f"{PREFIX}00000000-x", PREFIX, "x"):
        assert keys.find(wrong) is None
    assert len(compared) == 6, "also where no key has that id"
    assert {len(text) for pair in compared for text in pair} == {64}, "hashes, of one length"


def test_another_worker_knows_within_a_second(store: Store) -> None:
    mine, others = Keys(store), Keys(store)
    secret, _ = mine.make("one")
    assert others.find(secret) is not None
    mine.revoke("one")
    others._read_at = -math.inf  # the second is over
    assert others.find(secret) is None


def test_one_that_was_made_a_moment_ago_opens_at_once_in_every_worker(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy_app.access.keys._KEPT_S", 1000.0)
    mine, others = Keys(store), Keys(store)
    assert others.find("sk-spark-none") is None
    secret, _ = mine.make("one")
    assert eventually(lambda: others.find(secret) is not None)


def test_its_use_is_noted_once_an_hour(store: Store) -> None:
    clock = Clock()
    keys = Keys(store, clock)
    secret, _ = keys.make("one")
    for at, noted in ((1000.0, 1000.0), (2000.0, 1000.0), (4600.0, 4600.0)):
        clock.now = at
        keys.find(secret)
        assert keys.all()[0].used_at == noted


@pytest.mark.parametrize("name", ["", " a", "a\n", "x" * 65, "\x00"])
def test_what_is_no_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(BadKeyError, match="name"):
        Keys(store).make(name)


def test_a_name_is_taken_once_and_limits_are_bounded(store: Store) -> None:
    keys = Keys(store)
    keys.make("one")
    with pytest.raises(BadKeyError, match="already"):
        keys.make("one")
    for wrong in ({"max_in_flight": 0}, {"per_minute": -1}, {"max_in_flight": 10_000}):
        with pytest.raises(BadKeyError, match="expected"):
            keys.make("two", **wrong)


def test_the_api_makes_lists_and_revokes_them(gateway: Gateway, locked: Flask) -> None:
    client = locked.test_client()
    headers = {"x-csrf-token": log_in(client)}
    made = client.post("/api/keys", json={"name": "n8n", "per_minute": 60}, headers=headers)
    assert made.status_code == 201
    key = made.get_json()["key"]
    assert locked.test_client().get("/v1/models", headers=bearer(key)).status_code == 200
    listed = client.get("/api/keys")
    assert key not in listed.text
    (one,) = listed.get_json()["keys"]
    assert (one["name"], one["per_minute"], one["max_in_flight"]) == ("n8n", 60, None)
    assert one["used_at"] is not None
    for wrong in ({}, {"name": "n8n"}, {"name": ""}, {"name": "b", "per_minute": 0}):
        refused = client.post("/api/keys", json=wrong, headers=headers)
        assert refused.status_code == 400, wrong
    assert client.post("/api/keys", json={"name": "no token"}).status_code == 403
    path = f"/api/keys/{one['id']}"
    assert client.delete(path, headers=headers).status_code == 204
    assert client.delete(path, headers=headers).status_code == 404
    assert locked.test_client().get("/v1/models", headers=bearer(key)).status_code == 401


def test_the_page_lists_them_and_never_their_secrets(gateway: Gateway, locked: Flask) -> None:
    client = locked.test_client()
    log_in(client)
    key, known = gateway.keys.make("<b>n8n</b>", per_minute=60)
    page = client.get("/settings").text
    assert "&lt;b&gt;n8n" in page
    assert known.id in page
    assert key.removeprefix(f"{PREFIX}{known.id}-") not in page


def test_the_command_line_makes_lists_and_revokes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("SPEECH_")]:
        monkeypatch.delenv(name)
    for name, value in settings(tmp_path).items():
        monkeypatch.setenv(name, value)

    def control(*arguments: str) -> tuple[int, str]:
        status = main(["control", "keys", *arguments])
        return status, capsys.readouterr().out.strip()

    status, key = control("add", "prometheus", "--in-flight", "2")
    assert (status, key.startswith(PREFIX)) == (0, True)
    assert control("add", "prometheus") == (1, "")
    assert control("add", "other", "--per-minute", "0") == (1, "")
    found = application(tmp_path).extensions[EXTENSION].keys.find(key)
    assert (found.name, found.max_in_flight) == ("prometheus", 2)
    listed = control("list")[1]
    assert "prometheus" in listed
    assert key not in listed
    assert control("revoke", "prometheus") == (0, "")
    assert control("revoke", "prometheus") == (1, "")
    assert control("list") == (0, "")


@pytest.mark.parametrize("is_newer", [False, True])
def test_without_the_database_no_key_is_found_to_be_revoked(tmp_path: Path, is_newer: bool) -> None:
    away = {} if is_newer else {"SPEECH_DATABASE_URL": "postgresql://me@127.0.0.1:9/jobs"}
    if is_newer:
        make_newer(tmp_path / "state")
    app = application(tmp_path, **away)
    assert _look_again(app.extensions[EXTENSION], f"{PREFIX}00000000-x") is None


def make_newer(folder: Path) -> None:
    """Have a database of a version to come."""
    folder.mkdir()
    with contextlib.closing(Store(None, folder)) as store, store.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

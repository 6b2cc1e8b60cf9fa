"""/api/services, and what clients are told of what the watch process found."""

import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from proxy_app.app import create_app
from proxy_app.gateway import EXTENSION, Gateway
from proxy_app.services import Verdict
from proxy_app.store import Job, ServiceRestart, ServiceSetting, ServiceState
from tests.jobs.house import settings
from tests.jobs.web import free_port
from tests.standins.upstream_whisperx import StandIn

NEW = {
    "state", "since", "detail", "restarts_left", "auto_restart", "last_check", "checking",
    "actions", "embedded",
}  # fmt: skip


@dataclass
class Page:
    """The application, with a Parakeet that nobody answers for."""

    client: FlaskClient
    gateway: Gateway
    file: Path

    def register(self, **fields: object) -> None:
        registration = {
            "kind": "asr", "api": "parakeet", "base_url": f"http://127.0.0.1:{free_port()}",
            "host": "quick", "container": "parakeet", **fields,
        }  # fmt: skip
        self.file.write_text(json.dumps(registration))

    def found(self, state: str, **values: Any) -> None:  # noqa: ANN401
        """What the watch process has written."""
        row = {"detail": "", "checking": False, "known": {}, "last_check": None, **values}
        self.gateway.records.save(
            ServiceState(name="parakeet", state=state, since=1_800_000_000.5, **row)
        )

    def shown(self) -> dict[str, Any]:
        shown: dict[str, Any] = self.client.get("/api/services/parakeet").get_json()
        return shown


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One for all: its inventory is read by Ansible, which takes longer than all else."""
    folder = tmp_path_factory.mktemp("control")
    (folder / "services.d").mkdir()
    app = create_app(settings(folder))
    gateway: Gateway = app.extensions[EXTENSION]
    yield Page(app.test_client(), gateway, folder / "services.d/parakeet.json")
    gateway.room.close()


@pytest.fixture
def page(app: Page) -> Page:
    """Nothing is known, and nothing was ever done."""
    with app.gateway.room.store.session() as session:
        for table in (Job, ServiceState, ServiceSetting, ServiceRestart):
            session.query(table).delete()
    app.gateway.removed.write({})
    app.register()
    return app


@pytest.fixture
def watched(page: Page) -> Iterator[Page]:
    """The same while a watch process lives."""
    with page.gateway.reports.watching(lambda: True):
        yield page


def test_without_a_watch_process_the_gateways_own_look_is_shown(page: Page) -> None:
    page.found("ready")
    shown = page.shown()
    assert set(shown) >= NEW
    assert (shown["state"], shown["since"], shown["checking"]) == ("unreachable", None, False)
    assert shown["actions"] == ["start", "stop", "restart", "remove"]


def test_what_the_watch_process_found_is_shown(watched: Page) -> None:
    check = {"at": 1_800_000_000.0, "ok": True, "took_s": 0.5, "heard": "a", "expected": "a"}
    watched.found("ready", detail="Fine.", last_check={**check, "detail": "Fine."}, checking=True)
    watched.gateway.records.add_restart("parakeet", by="docker")
    shown = watched.shown()
    assert {name: shown[name] for name in NEW} == {
        "state": "ready",
        "since": "2027-01-15T08:00:00.500+00:00",
        "detail": "Fine.",
        "restarts_left": 2,
        "auto_restart": True,
        "last_check": {**check, "at": "2027-01-15T08:00:00.000+00:00", "detail": "Fine."},
        "checking": True,
        "actions": ["stop", "restart", "check", "remove"],
        "embedded": False,
    }
    everything = watched.client.get("/api/services").get_json()
    assert everything["services"] == [shown]
    assert everything["summary"] == "1 of 1 ready"


@pytest.mark.parametrize(
    ("state", "actions"),
    [
        ("stopped", ["start", "remove"]),
        ("absent", ["remove"]),
        ("given_up", ["stop", "restart", "check", "remove"]),
    ],
)
def test_only_what_makes_sense_can_be_done(watched: Page, state: str, actions: list[str]) -> None:
    watched.found(state)
    assert watched.shown()["actions"] == actions
    watched.register(container=None)
    assert set(watched.shown()["actions"]) <= {"check", "remove"}


@pytest.fixture
def whisperx(page: Page) -> Iterator[Page]:
    """A server that says of itself that it is ready, as a wedged one does."""
    with StandIn() as server:
        page.register(kind="speakers", api="whisperx", base_url=f"http://127.0.0.1:{server.port}")
        yield page


def whisperx_status(page: Page) -> tuple[bool, str, str]:
    status = page.client.get("/api/whisperx/status").get_json()
    return status["healthy"], status["state"], status["detail"]


@pytest.mark.parametrize("state", ["suspect", "restarting", "given_up"])
def test_a_wedged_whisperx_that_says_that_it_is_ready_is_not_healthy(
    whisperx: Page, state: str
) -> None:
    with whisperx.gateway.reports.watching(lambda: True):
        whisperx.found(state, detail="A probe failed.")
        assert whisperx.shown()["ready"] is False
        assert whisperx_status(whisperx) == (False, state, "A probe failed.")
        whisperx.found("ready")
        assert whisperx_status(whisperx) == (True, "ready", "")


def test_without_a_watch_process_whisperx_is_as_it_says(whisperx: Page) -> None:
    whisperx.found("given_up")
    assert whisperx_status(whisperx)[:2] == (True, "ready")


def test_a_whisperx_that_is_not_registered_is_absent(watched: Page) -> None:
    assert whisperx_status(watched) == (False, "absent", "")


def test_a_check_is_asked_of_the_watch_process(watched: Page) -> None:
    before = time.time()
    answer = watched.client.post("/api/services/parakeet/check")
    assert answer.status_code == 202
    assert answer.get_json()["name"] == "parakeet"
    assert watched.gateway.reports.asked_at("parakeet") >= before


def test_without_a_watch_process_nobody_can_check(page: Page) -> None:
    answer = page.client.post("/api/services/parakeet/check")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "not_watched")


def test_automatic_restarts_are_switched_until_somebody_switches_them_again(page: Page) -> None:
    url = "/api/services/parakeet/auto_restart"
    assert page.client.put(url, json={"on": False}).get_json()["auto_restart"] is False
    page.file.touch()
    assert page.shown()["auto_restart"] is False
    assert page.client.put(url, json={"on": True}).get_json()["auto_restart"] is True


@pytest.mark.parametrize("body", [{}, {"on": "yes"}, {"off": True}])
def test_a_switch_that_is_not_understood_is_refused(page: Page, body: dict[str, object]) -> None:
    answer = page.client.put("/api/services/parakeet/auto_restart", json=body)
    assert answer.status_code == 400


def test_a_removed_service_is_hidden_until_it_is_registered_otherwise(page: Page) -> None:
    assert page.client.delete("/api/services/parakeet").status_code == 204
    assert page.client.get("/api/services/parakeet").status_code == 404
    assert page.client.get("/api/services").get_json()["services"] == []
    page.file.touch()
    assert page.client.get("/api/services").get_json()["services"] == []
    page.register(title="Another one")
    assert page.shown()["title"] == "Another one"


def test_what_a_job_works_on_can_be_neither_removed_nor_switched(watched: Page) -> None:
    watched.found("ready")
    job = watched.client.post("/api/services/parakeet/restart").get_json()
    assert watched.shown()["actions"] == []
    refused = watched.client.delete("/api/services/parakeet")
    assert (refused.status_code, refused.headers["Location"]) == (409, job["url"])


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("POST", "/check"), ("PUT", "/auto_restart"), ("POST", "/stop")],
)
def test_a_service_that_is_not_registered_is_404(page: Page, method: str, path: str) -> None:
    body = {"on": True} if method == "PUT" else None
    answer = page.client.open(f"/api/services/nobody{path}", method=method, json=body)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("state", "refuses", "retry"),
    [("restarting", True, None), ("suspect", True, None), ("given_up", True, "false")],
)
def test_requests_are_told_at_once_what_was_found(
    watched: Page, state: str, *, refuses: bool, retry: str | None
) -> None:
    watched.register(kind="speakers", api="whisperx")
    watched.gateway.reports.tell("parakeet", Verdict(state, "A probe failed.", refuses))
    answer = watched.client.post(
        "/v1/audio/transcriptions", data={"file": (io.BytesIO(b"RIFF"), "a.wav")}
    )
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert answer.headers.get("x-should-retry") == retry
    assert "A probe failed." in answer.get_json()["error"]["message"]


def test_a_verdict_of_a_dead_watch_process_counts_no_more(page: Page) -> None:
    page.gateway.reports.tell("parakeet", Verdict("given_up", "", refuses=True))
    assert page.gateway.reports.verdict("parakeet") is None
    with page.gateway.reports.watching(lambda: True):
        assert page.gateway.reports.verdict("parakeet") is not None
    assert page.gateway.reports.verdict("parakeet") is None


def test_a_database_that_is_away_hides_no_service(page: Page, tmp_path: Path) -> None:
    away = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    environ = settings(tmp_path, SPEECH_SERVICES_DIR=str(page.file.parent))
    client = create_app({**environ, "SPEECH_DATABASE_URL": away}).test_client()
    shown = client.get("/api/services/parakeet").get_json()
    assert (shown["state"], shown["restarts_left"]) == ("unreachable", 3)


def test_only_one_process_watches(page: Page) -> None:

    with page.gateway.reports.watching(lambda: True) as is_ours:
        assert is_ours
        tries = iter([True, False])
        with page.gateway.reports.watching(lambda: next(tries)) as other:
            assert not other

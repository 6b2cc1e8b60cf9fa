"""/api/jobs and /api/whisperx over HTTP: asking, looking, refusing."""

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from proxy_app.jobs import desk
from proxy_app.jobs.events import EventWriter
from proxy_app.jobs.kinds import KINDS
from proxy_app.jobs.states import State
from proxy_app.services.registry import APIS
from tests.jobs.conftest import empty_database
from tests.jobs.house import House, settings
from tests.jobs.orders import an_order
from tests.jobs.web import Web, serving

SERVICE = {
    "kind": "asr", "api": "parakeet", "base_url": "http://127.0.0.1:9", "host": "quick",
    "container": "parakeet",
}  # fmt: skip


@pytest.fixture(scope="module")
def inhabited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Web]]:
    """A gateway; nobody starts jobs here, so that they stay as they are."""
    folder = tmp_path_factory.mktemp("api")
    house = House(settings(folder))
    services = folder / "services.d"
    services.mkdir()
    (services / "parakeet.json").write_text(json.dumps(SERVICE))
    (services / "sortformer.json").write_text(
        json.dumps(SERVICE | {"kind": "diarize", "api": "sortformer"})
    )
    (services / "bare.json").write_text(json.dumps(SERVICE | {"container": None}))
    (services / "foreign.json").write_text(json.dumps(SERVICE | {"host": "elsewhere"}))
    with serving(house) as web:
        yield house, web
    house.room.close()


@pytest.fixture
def house(inhabited: tuple[House, Web]) -> Iterator[House]:
    yield inhabited[0]
    for job in inhabited[0].room.jobs.history(limit=200):
        inhabited[0].room.jobs.cancel(job.id)


@pytest.fixture
def web(inhabited: tuple[House, Web], house: House) -> Web:
    return inhabited[1]


def error(web: Web, path: str, body: object = None, status: int = 400) -> dict[str, str]:
    answer = web.post(path, body)
    assert answer.status_code == status, answer.text
    found: dict[str, str] = answer.json()["error"]
    return found


def test_a_click_makes_a_job_and_says_where_it_is(web: Web, house: House) -> None:
    given = {"host": "quick", "variables": {"whisperx_model": "small"}}
    answer = web.post("/api/whisperx/install", given)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["Location"] == job["url"] == f"/api/jobs/{job['job_id']}"
    assert (job["state"], job["host"], job["over"]) == ("queued", "quick", False)
    assert job["variables"] == {"whisperx_model": "small"}
    for path in (job["url"], f"/api/whisperx/install/{job['job_id']}"):
        assert web.get(path).json()["id"] == job["job_id"]
    assert web.get("/api/whisperx/status").json()["job"]["id"] == job["job_id"]


def test_a_second_click_gets_the_job_that_runs(web: Web) -> None:
    job = web.post("/api/whisperx/install", {"host": "quick"}).json()
    again = web.post("/api/whisperx/install", {"host": "quick"})
    assert again.status_code == 409
    assert again.headers["Location"] == job["url"]
    refusal = again.json()["error"]
    assert (refusal["code"], refusal["job_id"], refusal["link"]) == (
        "job_active", job["id"], job["url"],
    )  # fmt: skip
    assert f"Job {job['number']}" in refusal["message"]


def test_a_hundred_clicks_at_once_make_one_job(web: Web) -> None:
    def click(_number: int) -> tuple[int, str]:
        answer = web.post("/api/whisperx/install", {"host": "slow"})
        found = answer.json()
        return answer.status_code, found.get("job_id") or found["error"]["job_id"]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(click, range(100)))
    assert len({job_id for _, job_id in answers}) == 1
    assert sorted(status for status, _ in answers) == [202] + [409] * 99


def test_a_restart_goes_beside_a_build_but_not_of_what_is_being_patched(web: Web) -> None:
    assert web.post("/api/jobs", {"kind": "whisperx.install", "host": "quick"}).ok
    restart = web.post("/api/services/parakeet/restart")
    assert restart.status_code == 202
    assert (restart.json()["kind"], restart.json()["host"]) == ("service.restart", "quick")
    diarizer = error(web, "/api/services/sortformer/restart", status=409)
    assert diarizer["job_id"] == restart.json()["id"]  # both are in one container


def test_a_service_job_has_what_the_playbook_needs_of_the_registration(
    web: Web, house: House
) -> None:
    job = house.room.jobs.get(web.post("/api/services/sortformer/stop").json()["job_id"])
    assert job.variables == {
        "service_host": "quick",
        "managed_service_name": "parakeet",
        "managed_service_container": "parakeet",
        "managed_service_base_url": "http://127.0.0.1:9",
        "managed_service_health_path": "/v1/audio/diarize/health",
        "managed_service_health_expect": {},
        "managed_service_key": False,
    }


def test_every_kind_of_service_has_something_to_be_asked_after_a_restart() -> None:
    assert set(desk._HEALTH) == set(APIS)


def test_a_service_that_cannot_be_switched_says_why(web: Web) -> None:
    assert "no container" in error(web, "/api/services/bare/stop")["message"]
    assert "not in the inventory" in error(web, "/api/services/foreign/stop")["message"]
    assert error(web, "/api/services/nothing/stop", status=404)["code"] == "not_found"
    assert web.post("/api/services/bare/explode").status_code == 404


def test_a_queued_job_is_canceled_and_can_be_asked_for_again(web: Web) -> None:
    job = web.post("/api/jobs", {"kind": "whisperx.install", "host": "quick"}).json()
    canceled = web.post(f"{job['url']}/cancel")
    assert canceled.status_code == 202
    assert canceled.json()["state"] == "canceled"
    assert canceled.json()["reason"] == "Canceled by the API before it began."
    again = web.post(f"{job['url']}/rerun")
    assert again.status_code == 202
    assert again.json()["rerun_of"] == job["id"]
    assert web.post(f"{job['url']}/rerun").status_code == 409


def test_history_has_pages_and_filters(web: Web) -> None:
    ids = []
    for kind, host in (("whisperx.install", "quick"), ("whisperx.remove", "slow")):
        ids.append(web.post("/api/jobs", {"kind": kind, "host": host}).json()["id"])
    page = web.get("/api/jobs?limit=1").json()
    assert [job["id"] for job in page["jobs"]] == ids[1:]
    following = web.get(f"/api/jobs?limit=1&before={page['next']}").json()
    assert [job["id"] for job in following["jobs"]] == ids[:1]
    for query, expected in (("host=slow&state=active", ids[1:]), ("state=succeeded", [])):
        found = web.get(f"/api/jobs?{query}").json()
        assert ([job["id"] for job in found["jobs"]], found["next"]) == (expected, None)
    only = web.get("/api/jobs?kind=whisperx.remove&state=queued").json()["jobs"]
    assert [job["id"] for job in only] == ids[1:]


def test_the_forms_are_those_of_the_roles(web: Web) -> None:
    kinds = {kind["kind"]: kind for kind in web.get("/api/jobs/kinds").json()["kinds"]}
    assert set(kinds) == {name for name in KINDS if not name.startswith("service.")}
    assert "quick" in kinds["whisperx.install"]["hosts"]
    assert kinds["magpie.install"]["hosts"] == []
    model = kinds["whisperx.model"]["fields"][0]
    assert (model["name"], model["default"]) == ("whisperx_model", "medium")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "kind"),
        ({"kind": "whisperx.destroy"}, "kind"),
        ({"kind": "service.restart", "host": "quick"}, "kind"),
        ({"kind": 7}, "kind"),
        ({"kind": "whisperx.install"}, "host"),
        ({"kind": "whisperx.install", "host": "all:!quick"}, "host"),
        ({"kind": "magpie.install", "host": "quick"}, "host"),
        ({"kind": "whisperx.install", "host": "quick", "preview": "no"}, "preview"),
        ({"kind": "whisperx.install", "host": "quick", "playbook": "x"}, "playbook"),
        (
            {"kind": "whisperx.install", "host": "quick", "variables": {"ansible_host": "x"}},
            "ansible_host",
        ),
    ],
)
def test_an_order_that_cannot_be_is_refused_by_name(
    web: Web, body: dict[str, object], param: str
) -> None:
    assert error(web, "/api/jobs", body)["param"] == param


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"host=quick", "application/x-www-form-urlencoded", 415),
        (b'{"host": "quick"}', "text/plain", 415),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b" " * 70_000 + b"{}", "application/json", 413),
    ],
)
def test_a_body_that_is_no_small_json_object_is_refused(
    web: Web, data: bytes, kind: str, status: int
) -> None:
    answer = requests.post(
        f"{web.url}/api/whisperx/install", data=data, headers={"Content-Type": kind}, timeout=60
    )
    assert answer.status_code == status, answer.text
    assert "message" in answer.json()["error"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=9999", "before=-1", "before=9" + "9" * 30, "state=gone"]
)
def test_a_query_that_cannot_be_is_refused_by_name(web: Web, query: str) -> None:
    answer = web.get(f"/api/jobs?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.partition("=")[0]


@pytest.mark.parametrize("path", ["", "/stream", "/log", "/cancel", "/rerun"])
def test_a_job_that_there_is_not_is_404(web: Web, path: str) -> None:
    post = path in ("/cancel", "/rerun")
    for name in ("nothing", "..%2f..%2fetc", "%00", "0" * 16):
        answer = (web.post if post else web.get)(f"/api/jobs/{name}{path}")
        assert answer.status_code == 404, name
        assert answer.json()["error"]["code"] == "not_found"


def test_an_install_is_no_name_for_another_job(web: Web) -> None:
    job = web.post("/api/jobs", {"kind": "whisperx.remove", "host": "quick"}).json()
    assert web.get(f"/api/whisperx/install/{job['id']}").status_code == 404
    assert web.get(f"/api/whisperx/install/{job['id']}/stream").status_code == 404


def test_a_log_is_a_file_plain_or_in_colours(web: Web, house: House) -> None:
    job = house.room.jobs.add(an_order(host="logged"))
    lock = house.room.jobs.folder(job.id).take()
    assert lock is not None
    writer = EventWriter(house.room.jobs.folder(job.id).events)
    writer.log("\x1b[0;32mok: [spark]\x1b[0m")
    writer.phase("Run", "running")
    writer.log("Grüße")
    writer.close()
    os.close(lock)
    plain = web.get(f"/api/jobs/{job.id}/log")
    assert plain.content.decode() == "ok: [spark]\nGrüße\n"
    assert re.search(rf'attachment; filename="job-{job.number}\.log"', plain.headers[
        "Content-Disposition"])  # fmt: skip
    assert plain.headers["Content-Type"] == "text/plain; charset=utf-8"
    colours = web.get(f"/api/jobs/{job.id}/log?ansi=1").content.decode()
    assert colours.startswith("\x1b[0;32mok: [spark]\x1b[0m")


def test_a_job_found_lost_by_a_page_is_shown_lost(web: Web, house: House) -> None:
    job = house.room.jobs.add(an_order(host="gone"))
    (claimed,) = (one for one in house.room.jobs.claim("host", 99) if one.job.id == job.id)
    os.close(claimed.lock)
    shown = web.get(f"/api/jobs/{job.id}").json()
    assert (shown["state"], shown["over"]) == (State.LOST, True)
    assert "Nothing runs this job any more" in shown["reason"]


def test_a_gateway_with_postgresql_does_the_same(
    postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = empty_database(postgres_server)
    house = House(settings(tmp_path_factory.mktemp("pg"), SPEECH_DATABASE_URL=url))
    with serving(house) as web:
        job = web.post("/api/whisperx/install", {"host": "quick"}).json()
        assert web.post("/api/whisperx/install", {"host": "quick"}).status_code == 409
        with web.stream(job["stream"]) as stream:
            events = iter(stream)
            assert next(events).data["state"] == "queued"
            assert web.post(f"{job['url']}/cancel").json()["state"] == "canceled"
            assert [event.name for event in events] == ["status", "end"]
    house.room.close()


def test_without_its_database_only_jobs_are_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("away")
    url = "postgresql://me:hunter2@127.0.0.1:9/jobs"
    house = House(settings(folder, SPEECH_DATABASE_URL=url))
    with serving(house) as web:
        answer = web.get("/api/jobs")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_unavailable")
        assert web.get("/api/services").ok
        assert web.get("/").ok
    assert "hunter2" not in answer.text + (house.state / "web.log").read_text()

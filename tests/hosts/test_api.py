"""/api/hosts and /api/secrets over HTTP: from an empty inventory to a playbook on a new host."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy_app.hosts.own import Host
from proxy_app.jobs.states import State
from proxy_app.jobs.worker import variables
from proxy_app.store import HostState
from tests.hosts.conftest import empty_house
from tests.hosts.sshd import PASSWORD, Sshd
from tests.jobs.house import ROOT, House, eventually
from tests.jobs.web import Web, serving

ALL = ["whisperx", "parakeet", "sortformer", "magpie"]
TOKEN = "hf_" + "x" * 30


@pytest.fixture(scope="module")
def inhabited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Web]]:
    """A gateway; its inventory is empty, and nobody looks at hosts."""
    operators = {"all": {"hosts": {"theirs": {"ansible_host": "192.0.2.1"}}}}
    house = empty_house(tmp_path_factory.mktemp("api") / "a house", operators)
    with serving(house) as web:
        yield house, web
    house.room.close()


@pytest.fixture
def web(inhabited: tuple[House, Web]) -> Iterator[Web]:
    house, web = inhabited
    yield web
    for host in house.room.own_hosts.hosts():
        house.room.own_hosts.remove(host.name)


@pytest.fixture
def house(inhabited: tuple[House, Web]) -> House:
    return inhabited[0]


def spark(sshd: Sshd, **other: object) -> dict[str, Any]:
    plain = {"address": sshd.address, "user": sshd.user, "fingerprint": sshd.fingerprint()}
    return {**plain, "name": "spark1", "groups": ALL, **other}


def refusal(answer: requests.Response, status: int = 400) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    found: dict[str, str] = answer.json()["error"]
    return found


@pytest.fixture
def short_home() -> Iterator[str]:
    """Ansible's sockets lie below it, and the address of a socket holds 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="speech-") as folder:
        yield folder


def test_a_host_is_looked_at_tried_and_added_and_a_playbook_gets_there(
    tmp_path: Path, short_home: str, sshd: Sshd
) -> None:
    """All that a person does on the page of a fresh control app, and the job after it."""
    house = empty_house(tmp_path / "house", HOME=short_home)
    with serving(house) as web, house.dispatching():
        empty = web.get("/api/hosts").json()
        assert (empty["hosts"], empty["error"]) == ([], None)
        assert empty["key"]["public"].startswith("ssh-ed25519 AAAA")

        looked = web.post("/api/hosts/look", {"address": sshd.address}).json()
        fingerprint = looked["keys"][0]["fingerprint"]
        assert (fingerprint, looked["known"]) == (sshd.fingerprint(), False)

        who = {"address": sshd.address, "user": "spark", "fingerprint": fingerprint}
        assert web.post("/api/hosts/try", who).json()["ok"] is False
        tried = web.post("/api/hosts/try", {**who, "password": PASSWORD}).json()
        assert (tried["ok"], tried["found"]["gpu"]) == (True, "NVIDIA GB10")

        added = web.post("/api/hosts", {**who, "name": "spark1", "groups": ["whisperx"]})
        assert added.status_code == 201, added.text
        assert (added.json()["name"], added.json()["groups"]) == ("spark1", ["whisperx"])
        assert web.post("/api/hosts/look", {"address": sshd.address}).json()["known"] is True
        assert web.get("/api/whisperx/status").json()["hosts"] == ["spark1"]

        job = house.room.jobs.get(web.post("/api/whisperx/install").json()["job_id"])
        ended = house.wait(job)
        assert ended.state == State.SUCCEEDED, house.text(job)
        assert sshd.root("cat /tmp/installed") == "spark\n"
        (service,) = web.get("/api/services").json()["services"]
        assert (service["name"], service["host"]) == ("whisperx", "spark1")
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in left if PASSWORD.encode() in path.read_bytes()]
    house.room.close()


def test_how_a_host_is_comes_from_the_collector(tmp_path: Path) -> None:
    house = empty_house(
        tmp_path / "house", {"all": {"hosts": {"this": {"ansible_connection": "local"}}}},
        SPEECH_HOSTS_EVERY_S="1",
    )  # fmt: skip
    code = (
        "import os, threading; from proxy_app.config import load_config;"
        "from proxy_app.jobs.desk import Room; from proxy_app.hosts.metrics import Collector;"
        "Collector(Room(load_config(os.environ))).run(threading.Event())"
    )
    with serving(house) as web:
        (unknown,) = web.get("/api/hosts").json()["hosts"]
        assert (unknown["state"], unknown["at"], unknown["cpu"]) == ("unknown", None, None)
        collector = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=house.environ)
        try:
            assert eventually(lambda: web.get("/api/hosts").json()["hosts"][0]["history"])
        finally:
            collector.terminate()
            collector.wait()
        (this,) = web.get("/api/hosts").json()["hosts"]
    assert (this["name"], this["local"], this["state"]) == ("this", True, "reachable")
    assert this["cores"] == os.cpu_count()
    assert set(this["history"][0]) == {"at", "cpu", "memory", "gpu"}
    assert this["at"].endswith("+00:00")
    house.room.close()


def test_what_is_known_of_a_host_grows_old(house: House, web: Web) -> None:
    old = HostState(
        name="theirs", state="reachable", since=1.0, at=1.0, detail="", history=[],
        look={"cpu": 0.5, "gpus": [{"name": "x"}], "containers": []},
    )  # fmt: skip
    with house.room.store.session() as session:
        session.add(old)
    (theirs,) = web.get("/api/hosts").json()["hosts"]
    assert (theirs["state"], theirs["cpu"], theirs["gpus"]) == ("unknown", None, [])
    assert theirs["detail"] == "Nobody has looked at it lately."


def test_a_second_host_of_that_name_or_address_is_refused(web: Web, sshd: Sshd) -> None:
    assert web.post("/api/hosts", spark(sshd)).status_code == 201
    for other in ({}, {"name": "spark2"}, {"name": "theirs"}):
        error = refusal(web.post("/api/hosts", spark(sshd, **other)), 409)
        assert error["code"] == "host_exists"
    elsewhere = spark(sshd, name="spark2", address="192.0.2.1")
    assert "theirs has this address" in refusal(web.post("/api/hosts", elsewhere), 409)["message"]


def test_a_host_that_shows_another_key_than_the_confirmed_one_is_not_added(
    web: Web, sshd: Sshd
) -> None:
    wrong = spark(sshd, fingerprint="SHA256:" + "A" * 43)
    error = refusal(web.post("/api/hosts", wrong), 422)
    assert (error["code"], "this fingerprint" in error["message"]) == ("host_unreachable", True)
    assert [host["name"] for host in web.get("/api/hosts").json()["hosts"]] == ["theirs"]


def test_a_host_that_was_added_can_be_taken_away_unless_a_job_works_on_it(
    web: Web, house: House, sshd: Sshd
) -> None:
    assert web.post("/api/hosts", spark(sshd)).status_code == 201
    job = web.post("/api/jobs", {"kind": "whisperx.install", "host": "spark1"}).json()
    busy = requests.delete(web.url + "/api/hosts/spark1", timeout=60)
    assert refusal(busy, 409)["job_id"] == job["id"]
    house.room.jobs.cancel(job["id"])
    assert requests.delete(web.url + "/api/hosts/spark1", timeout=60).status_code == 204
    gone = requests.delete(web.url + "/api/hosts/spark1", timeout=60)
    assert refusal(gone, 404)["code"] == "not_found"
    assert sshd.address not in (house.state / "hosts/known_hosts").read_text()


def test_a_host_of_the_operators_inventory_is_theirs_to_take_out(web: Web) -> None:
    answer = requests.delete(web.url + "/api/hosts/theirs", timeout=60)
    assert "take it out there" in refusal(answer, 409)["message"]


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHdqDVa5x1U2nIGSgVvPIQ3FJlJmUHSnqVvqyXwHZGw7"


@pytest.fixture
def saved(house: House) -> Host:
    """A host that was added at an address where nothing answers now."""
    host = Host("spark5", "192.0.2.5", 22, "me", ("whisperx",), KEY)
    assert house.room.own_hosts.add(host)
    return host


def patch(web: Web, body: dict[str, object], name: str = "spark5") -> requests.Response:
    return requests.patch(f"{web.url}/api/hosts/{name}", json=body, timeout=120)


def test_what_a_host_is_for_and_who_logs_in_can_be_changed(
    web: Web, house: House, saved: Host
) -> None:
    with house.room.store.session() as session:
        session.add(HostState(name="spark5", state="x", since=1.0, at=1.0, detail="", history=[]))
    answer = patch(web, {"groups": ["magpie", "parakeet"]})
    assert (answer.status_code, answer.json()["groups"]) == (200, ["parakeet", "magpie"])
    assert answer.json()["since"] is not None
    groups = house.room.project.hosts().groups
    assert ("spark5" in groups["magpie"], "spark5" in groups.get("whisperx", ())) == (True, False)
    answer = patch(web, {"user": "ada"})
    assert answer.json()["user"] == "ada"
    assert answer.json()["since"] is None, "what was seen as another user is no longer so"
    assert patch(web, {}).status_code == 200
    assert house.room.own_hosts.one("spark5") == replace(
        saved, user="ada", groups=("parakeet", "magpie")
    )


def test_at_another_address_a_host_shows_the_key_that_was_confirmed(
    web: Web, house: House, saved: Host, sshd: Sshd
) -> None:
    error = refusal(patch(web, {"address": sshd.address, "user": "spark"}), 422)
    assert error["code"] == "host_unreachable"
    assert house.room.own_hosts.one("spark5") == saved, "nothing of it was changed"
    confirmed = patch(
        web, {"address": sshd.address, "user": "spark", "fingerprint": sshd.fingerprint()}
    )
    assert confirmed.status_code == 200, confirmed.text
    now = house.room.own_hosts.one("spark5")
    assert now
    assert (now.address, now.user) == (sshd.address, "spark")
    known = house.room.own_hosts.known_hosts.read_text()
    assert (sshd.address in known, "192.0.2.5" in known) == (True, False)
    house.room.own_hosts.change("spark5", address="192.0.2.5")
    moved = patch(web, {"address": sshd.address})
    assert moved.status_code == 200, "its key is the one that was confirmed before"


def test_a_host_is_not_changed_while_a_job_works_on_it(web: Web, house: House, saved: Host) -> None:
    job = web.post("/api/jobs", {"kind": "whisperx.install", "host": "spark5"}).json()
    assert refusal(patch(web, {"groups": []}), 409)["job_id"] == job["id"]
    house.room.jobs.cancel(job["id"])
    assert patch(web, {"groups": []}).json()["groups"] == []
    assert house.room.own_hosts.one("spark5") == replace(saved, groups=())


def test_only_hosts_that_were_added_here_can_be_changed(web: Web, saved: Host) -> None:
    assert "change it there" in refusal(patch(web, {"user": "ada"}, "theirs"), 409)["message"]
    assert refusal(patch(web, {"user": "ada"}, "nobody"), 404)["code"] == "not_found"
    taken = refusal(patch(web, {"address": "192.0.2.1"}), 409)
    assert "theirs has this address" in taken["message"]
    assert patch(web, {"address": saved.address}).status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"address": "-oProxyCommand=id"}, "address"),
        ({"port": 0}, "port"),
        ({"port": "22"}, "port"),
        ({"user": "{{ x }}"}, "user"),
        ({"groups": ["control"]}, "groups"),
        ({"fingerprint": "MD5:aa"}, "fingerprint"),
        ({"name": "spark6"}, "name"),
    ],
)
def test_a_change_that_cannot_be_is_refused_whole(
    web: Web, house: House, saved: Host, body: dict[str, object], param: str
) -> None:
    assert refusal(patch(web, {"groups": [], **body}))["param"] == param
    assert house.room.own_hosts.one("spark5") == saved


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/look", {}, "address"),
        ("/look", {"address": "-oProxyCommand=id"}, "address"),
        ("/look", {"address": "169.254.169.254"}, "address"),
        ("/look", {"address": "a\nb"}, "address"),
        ("/look", {"address": "spark1", "port": True}, "port"),
        ("/look", {"address": "spark1", "port": "22"}, "port"),
        ("/look", {"address": "spark1", "port": 0}, "port"),
        ("/look", {"address": "spark1", "user": "x"}, "user"),
        ("/try", {"user": "-oProxyCommand=id"}, "user"),
        ("/try", {"fingerprint": "MD5:aa"}, "fingerprint"),
        ("/try", {"password": "hunter2\nhunter2"}, "password"),
        ("/try", {"password": ["hunter2"]}, "password"),
        ("", {"name": "{{ x }}"}, "name"),
        ("", {"name": "whisperx"}, "name"),
        ("", {"groups": ["control"]}, "groups"),
        ("", {"groups": "whisperx"}, "groups"),
        ("", {"groups": None}, "groups"),
    ],
)
def test_what_cannot_be_is_refused_before_anybody_is_asked(
    web: Web, path: str, body: dict[str, object], param: str
) -> None:
    right = {"address": "192.0.2.1", "user": "me", "fingerprint": "SHA256:" + "A" * 43}
    everything: dict[str, dict[str, object]] = {
        "/look": {}, "/try": {**right}, "": {**right, "name": "spark1", "groups": []},
    }  # fmt: skip
    error = refusal(web.post(f"/api/hosts{path}", {**everything[path], **body}))
    assert error["param"] == param
    assert "hunter2" not in json.dumps(error)


def test_nobody_can_have_a_network_searched_by_many_looks_at_once(web: Web) -> None:
    """192.0.2.0/24 is nobody's (RFC 5737): each look takes its time."""

    def look(number: int) -> int:
        return web.post("/api/hosts/look", {"address": f"192.0.2.{number}"}).status_code

    with ThreadPoolExecutor(12) as pool:
        answers = sorted(pool.map(look, range(1, 13)))
    assert set(answers) == {422, 503}
    assert answers.count(503) >= 4


def test_a_secret_is_written_handed_to_jobs_and_never_read_out(web: Web, house: House) -> None:
    names = set(web.get("/api/secrets").json())
    assert names == {"hf_token", "ngc_key"}
    put = requests.put(web.url + "/api/secrets/hf_token", json={"value": f"{TOKEN}\n"}, timeout=60)
    assert (put.status_code, put.json()["set"]) == (200, True)
    shown = web.get("/api/secrets")
    assert shown.json()["hf_token"]["set"] is True
    assert shown.json()["ngc_key"] == {"set": False, "at": None}
    assert TOKEN not in shown.text + put.text
    file = house.state / "secrets/hf_token"
    assert (file.read_text(), file.stat().st_mode & 0o777) == (TOKEN, 0o600)
    somewhere = Host("spark9", "192.0.2.9", 22, "me", ("whisperx",), "ssh-ed25519 AAAA")
    house.room.own_hosts.add(somewhere)
    job = house.order("spark9")
    given = variables(job, house.room.secrets)
    assert given["whisperx_hf_token_file"] == str(file.resolve())
    house.room.jobs.cancel(job.id)
    assert requests.delete(web.url + "/api/secrets/hf_token", timeout=60).status_code == 204
    assert web.get("/api/secrets").json()["hf_token"]["set"] is False
    assert not file.exists()
    assert requests.delete(web.url + "/api/secrets/hf_token", timeout=60).status_code == 204


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("hf_token", {}, 400),
        ("hf_token", {"value": ""}, 400),
        ("hf_token", {"value": 7}, 400),
        ("hf_token", {"value": "hunter2\nhunter2"}, 400),
        ("hf_token", {"value": "hunter2" * 1000}, 400),
        ("..", {"value": "hunter2"}, 404),
        ("%2e%2e%2fspeech.db", {"value": "hunter2"}, 404),
        ("database_url", {"value": "hunter2"}, 404),
    ],
)
def test_what_is_no_secret_is_refused_without_being_shown(
    web: Web, house: House, name: str, body: dict[str, object], status: int
) -> None:
    answer = requests.put(f"{web.url}/api/secrets/{name}", json=body, timeout=60)
    assert answer.status_code in (status, 405)
    assert "hunter2" not in answer.text
    assert "hunter2" not in (house.state / "web.log").read_text()

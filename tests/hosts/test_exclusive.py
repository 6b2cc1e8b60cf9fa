"""A host is changed or a job is asked for there: never both at once, in the hardest order."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from proxy_app.api import hosts as hosts_api
from proxy_app.app import create_app
from proxy_app.gateway import EXTENSION, Gateway
from proxy_app.hosts.own import Host
from proxy_app.hosts.ssh import HostKey
from proxy_app.jobs.forms import FormError
from tests.hosts.conftest import empty_house
from tests.jobs.house import House

BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAIHdqDVa5x1U2nIGSgVvPIQ3FJlJmUHSnqVvqyXwHZGw7"
HOST = Host("spark5", "192.0.2.5", 22, "me", ("whisperx",), f"ssh-ed25519 {BLOB}")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = empty_house(tmp_path / "a house")
    assert made.room.own_hosts.add(HOST)
    yield made
    made.room.close()


@pytest.fixture
def gateway(house: House) -> Iterator[tuple[Gateway, FlaskClient]]:
    app = create_app(house.environ)
    found: Gateway = app.extensions[EXTENSION]
    yield found, app.test_client()
    found.room.close()


def test_a_host_is_not_moved_under_a_job_that_came_while_its_key_was_asked_for(
    house: House, gateway: tuple[Gateway, FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is nobody's: an order comes in the place of the host's answer."""
    shown = [HostKey("ssh-ed25519", BLOB)]
    ordered = []

    def scan(*_asked: object) -> list[HostKey]:
        ordered.append(house.order("spark5"))
        return shown

    monkeypatch.setattr(hosts_api, "confirmed_keys", scan)
    answer = gateway[1].patch("/api/hosts/spark5", json={"address": "192.0.2.6"})
    assert answer.status_code == 409, answer.text
    assert answer.get_json()["error"]["job_id"] == ordered[0].id
    assert house.room.own_hosts.one("spark5") == HOST
    house.room.jobs.cancel(ordered[0].id)
    monkeypatch.setattr(hosts_api, "confirmed_keys", lambda *_asked: shown)
    assert gateway[1].patch("/api/hosts/spark5", json={"address": "192.0.2.6"}).status_code == 200


def test_a_job_that_is_asked_for_while_its_host_is_taken_out_finds_no_host(
    house: House, gateway: tuple[Gateway, FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the look for jobs, and before the host is gone."""
    own, client = gateway[0].room.own_hosts, gateway[1]
    assert house.room.project.hosts().groups["whisperx"] == ("spark5",)
    refused = []

    def order() -> None:
        try:
            house.order("spark5")
        except FormError as error:
            refused.append(error.param)

    orderer = threading.Thread(target=order)
    remove = own.remove

    def removed(name: str) -> bool:
        orderer.start()
        orderer.join(2)  # without a lock it is through long before
        return remove(name)

    monkeypatch.setattr(own, "remove", removed)
    assert client.delete("/api/hosts/spark5").status_code == 204
    orderer.join()
    assert refused == ["host"]
    assert house.room.jobs.last() is None


def test_a_machine_that_two_add_at_once_gets_one_name(
    house: House, gateway: tuple[Gateway, FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the one's keys are asked for, the other is done."""
    own = gateway[0].room.own_hosts
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIHdqDVa5x1U2nIGSgVvPIQ3FJlJmUHSnqVvqyXwHZGw8"
    key = HostKey("ssh-ed25519", other)
    first = Host("one", "192.0.2.7", 22, "me", ("whisperx",), f"ssh-ed25519 {other}")

    def scan(*_asked: object) -> list[HostKey]:
        assert own.add(first)
        return [key]

    monkeypatch.setattr(hosts_api, "confirmed_keys", scan)
    body = {"name": "two", "address": "192.0.2.7", "user": "me", "groups": ["whisperx"]}
    answer = gateway[1].post("/api/hosts", json=body | {"fingerprint": key.fingerprint})
    assert answer.status_code == 409, answer.text
    assert "one" in answer.get_json()["error"]["message"]
    assert own.one("two") is None

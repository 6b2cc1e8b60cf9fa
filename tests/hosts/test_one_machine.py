"""One machine has one name, however its address is spelt: "one job per host" depends on it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from proxy_app.app import create_app
from proxy_app.hosts import ssh
from tests.hosts.conftest import empty_house

ED25519 = ssh.HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAA")
ECDSA = ssh.HostKey("ecdsa-sha2-nistp256", "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAI")
OTHER = ssh.HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAB")
SHOWN = {
    "10.0.0.1": (ED25519, ECDSA), "10.0.0.3": (ECDSA, ED25519), "spark1.local": (ED25519, ECDSA),
    "10.0.0.2": (OTHER,), "fd00::9": (OTHER,),
}  # fmt: skip


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """A gateway whose network is SHOWN."""

    def scan(address: str, _port: int, _environment: Mapping[str, str]) -> list[ssh.HostKey]:
        return list(SHOWN[address])

    monkeypatch.setattr(ssh, "scan", scan)
    theirs = {"all": {"hosts": {"theirs": {"ansible_host": "FD00:0::0009"}}}}
    house = empty_house(tmp_path / "house", theirs)
    with create_app(house.environ).test_client() as made:
        yield made
    house.room.close()


def test_a_machine_that_has_a_name_gets_no_second_one(client: FlaskClient) -> None:
    def add(name: str, address: str, key: ssh.HostKey = ED25519) -> tuple[int, str]:
        body: dict[str, Any] = {"name": name, "address": address, "user": "spark"}
        body |= {"fingerprint": key.fingerprint, "groups": ["whisperx"]}
        answer = client.post("/api/hosts", json=body)
        found: dict[str, Any] = answer.get_json()
        return answer.status_code, found.get("error", {}).get("message", "")

    assert add("spark1", "10.0.0.1") == (201, "")
    assert add("other", "::ffff:10.0.0.1") == (409, "spark1 has this address already.")
    assert add("other", "fd00::9", OTHER) == (409, "theirs has this address already.")
    for key in (ED25519, ECDSA):
        status, message = add("other", "spark1.local", key)
        assert (status, message.partition(":")[0]) == (409, "spark1 is this machine")
    assert add("spark2", "10.0.0.2", OTHER) == (201, "")
    for body, status in (
        ({"address": "10.0.0.2", "fingerprint": OTHER.fingerprint}, 409),
        ({"address": "spark1.local", "fingerprint": OTHER.fingerprint}, 422),
        ({"address": "spark1.local"}, 200),
        ({"fingerprint": ECDSA.fingerprint}, 200),
    ):
        assert client.patch("/api/hosts/spark1", json=body).status_code == status, body
    moved = client.patch(
        "/api/hosts/spark2", json={"address": "10.0.0.3", "fingerprint": ED25519.fingerprint}
    )
    assert "spark1 is this machine" in moved.text

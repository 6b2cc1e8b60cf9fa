"""What the page is told of a Spark: its containers, and the services among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy_app.hosts.metrics import Collector
from proxy_app.hosts.own import Host
from proxy_app.hosts.trying import try_host
from proxy_app.jobs.project import Login
from proxy_app.store import HostState
from tests.fleet.fleet import Fleet
from tests.fleet.spark import USER, Spark
from tests.hosts.conftest import empty_house
from tests.jobs.house import House

NAME = "my-parakeet"


@pytest.fixture
def house(spark1: Spark, tmp_path: Path) -> Iterator[House]:
    """A page that is let in on the Spark."""
    made = empty_house(tmp_path / "house")
    keys = ".ssh/authorized_keys"
    before = spark1.ssh(f"cat {keys}").stdout
    spark1.ssh(f"cat >> {keys}", stdin=made.room.own_hosts.public_key().text + "\n")
    yield made
    spark1.ssh(f"cat > {keys}", stdin=before)
    made.room.close()


def test_what_runs_on_a_spark_is_found_and_shown(fleet: Fleet, spark1: Spark, house: House) -> None:
    run = ("run", "--detach", "--init", "--publish", "8001:80", "--name", NAME)
    spark1.docker(*run, "--entrypoint", "/bin/sleep", fleet.images.tiny, "600")
    public = (fleet.folder / f"{spark1.name}.key.pub").read_text()
    own = house.room.own_hosts
    host = Host("found", spark1.address, 22, USER, (), " ".join(public.split()[:2]))
    own.add(host)
    collector = Collector(house.room)
    try:
        login = Login(spark1.address, USER, 22)
        (fingerprint,) = own.known(spark1.address, 22)
        trial = try_host(own, login, fingerprint, None, house.environ)
        collector.run_once()
        with house.room.store.session() as session:
            row = session.get(HostState, "found")
    finally:
        collector.close()
        spark1.docker("rm", "--force", NAME)
    assert trial.ok, trial.detail
    assert trial.found
    assert trial.found["docker"] is True
    assert trial.found["parakeet"] == {"container": NAME, "port": 8001, "runs": True}
    assert row
    assert row.look, row.detail
    (shown,) = [one for one in row.look["containers"] if one["name"] == NAME]
    assert (shown["image"], shown["state"]) == (fleet.images.tiny, "running")
    assert shown["status"].startswith("Up")

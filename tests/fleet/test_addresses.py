"""A host that is reached by IPv6: its services are published, registered and asked there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.fleet.fleet import LABEL, Fleet
from tests.fleet.playbooks import Playbooks
from tests.fleet.tiny_service import PORT, make_tiny_service


@pytest.fixture
def address(fleet: Fleet) -> Iterator[str]:
    """An IPv6 address of the first host, which this machine can reach."""
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    spark, engine = fleet.sparks[0], fleet.engine
    network = f"{fleet.run}-ipv6"
    subnet = f"fd{secrets.token_hex(1)}:{secrets.token_hex(2)}:{secrets.token_hex(2)}::/64"
    label = f"{LABEL}={fleet.run}"
    engine.run("network", "create", "--ipv6", "--subnet", subnet, "--label", label, network)
    try:
        engine.run("network", "connect", network, spark.container)
        path = f'{{{{(index .NetworkSettings.Networks "{network}").GlobalIPv6Address}}}}'
        yield engine.run("inspect", "-f", path, spark.container).stdout.strip()
        engine.run("network", "disconnect", network, spark.container)
    finally:
        engine.run("network", "rm", network)


def test_a_service_on_an_ipv6_address_is_published_registered_and_answers_there(
    fleet: Fleet, playbook: Playbooks, address: str, tmp_path: Path
) -> None:
    tiny = make_tiny_service(fleet, playbook, fleet.sparks[0], tmp_path)
    try:
        done = tiny.run(managed_service_bind_address=address)
        assert done.rc == 0, done.out
        url = json.loads(tiny.registration.read_text())["base_url"]
        assert url == f"http://[{address}]:{PORT}"
        (published,) = tiny.inspected()["HostConfig"]["PortBindings"]["8000/tcp"]
        assert published == {"HostIp": address, "HostPort": str(PORT)}
        assert requests.get(f"{url}/health", timeout=10).json() == {"status": "ready"}
        again = tiny.run(managed_service_bind_address=address)
        assert again.changed["spark1"] == 0, again.out
    finally:
        tiny.clear()

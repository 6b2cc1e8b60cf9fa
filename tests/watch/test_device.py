"""A device that is at work: no restart of a service that may be working for others."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy_app.jobs.project import Hosts, Login
from proxy_app.store import HostState, Store
from proxy_app.watch.device import computes
from proxy_app.watch.work import OTHERS_S
from tests.watch.world import GOOD, LATE, SERVICE, TERMS, World


def test_a_late_probe_of_a_device_that_computes_restarts_nothing_for_half_an_hour(
    world: World,
) -> None:
    world.checks, world.computes = LATE, True
    world.go(TERMS.probe_every_s + OTHERS_S - 120)
    assert (world.state, world.restarts) == ("suspect", 0)
    assert len(world.probes) < 30
    world.go(300)
    assert (world.state, world.restarts) == ("restarting", 1)


def test_once_the_device_is_idle_a_late_probe_decides(world: World) -> None:
    world.checks, world.computes = LATE, True
    world.go(TERMS.probe_every_s + 300)
    assert world.restarts == 0
    world.computes = False
    world.go(120)
    assert world.restarts == 1


def test_what_was_late_for_others_work_is_well_afterwards(world: World) -> None:
    world.checks, world.computes = LATE, True
    world.go(TERMS.probe_every_s + 300)
    world.checks = GOOD
    world.go(60)
    assert (world.state, world.restarts) == ("ready", 0)


def test_what_tells_its_progress_is_not_excused_by_its_device(world: World) -> None:
    world.health = replace(world.health, tells_progress=True)
    world.checks, world.computes = LATE, True
    world.go(TERMS.probe_every_s + 300)
    assert world.restarts == 1


@pytest.mark.parametrize(
    ("gpus", "age_s", "expected"),
    [
        ([{"utilisation": 0.9}], 5, True),
        ([{"utilisation": 0.0}, {"utilisation": 0.5}], 5, True),
        ([{"utilisation": 0.02}], 5, False),
        ([{"utilisation": None}], 5, False),
        ([], 5, False),
        ([{"utilisation": 0.9}], 60, False),
    ],
)
def test_a_device_computes_where_its_last_look_says_so(
    tmp_path: Path, gpus: list[dict[str, Any]], age_s: float, expected: bool
) -> None:
    store = Store(None, tmp_path)
    seen = time.time() - age_s
    with store.session() as session:
        session.add(
            HostState(
                name="spark1", state="reachable", since=seen, at=seen, detail="",
                look={"gpus": gpus}, history=[],
            )
        )  # fmt: skip
    for host in ("spark1", "192.0.2.7"):
        assert computes(store, inventory, 15, replace(SERVICE, host=host)) is expected
    assert not computes(store, inventory, 15, replace(SERVICE, host="spark2"))


def inventory() -> Hosts:
    return Hosts({"spark1": Login("192.0.2.7")}, {})

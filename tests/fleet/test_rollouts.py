"""Rollouts over several hosts: the first that fails ends them, and none is left half done."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.checks import refused
from tests.fleet.fleet import Fleet
from tests.fleet.playbooks import Playbooks
from tests.fleet.spark import Spark
from tests.fleet.tiny_service import NAME, TinyService, make_tiny_service

LOCK = "~/.spark-speech/lock.json"


@pytest.fixture(scope="module")
def tiny(
    fleet: Fleet, playbook: Playbooks, tmp_path_factory: pytest.TempPathFactory
) -> TinyService:
    return make_tiny_service(fleet, playbook, fleet.sparks[-1], tmp_path_factory.mktemp("tiny"))


def written(tiny: TinyService, hosts: dict[str, dict[str, Any]], **control: str) -> Path:
    """An inventory of these hosts, which all have the service, and of a control host."""
    local = control or {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    children = {"hosts": {"hosts": hosts}, "control": {"hosts": {"localhost": local}}}
    inventory = tiny.folder / "hosts.yml"
    inventory.write_text(json.dumps({"all": {"children": children}}))
    return inventory


def lock_of_another_run() -> str:
    """A lock as somebody else's run writes it, which has just begun."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    now = {"wall": time.time(), "uptime": time.clock_gettime(time.CLOCK_BOOTTIME), "boot": boot}
    told = {"run_id": "another", "holder": "somebody", "since": time.time(), "lease_s": 900}
    return json.dumps({**told, "renewed": now})


def test_one_host_after_the_other_stops_at_the_first_that_fails(tiny: TinyService) -> None:
    bad = {"managed_service_memory_needed": "1000TB"}
    hosts: dict[str, dict[str, Any]] = {
        "first": tiny.spark.variables,
        "second": {**tiny.spark.variables, **bad},
        "third": tiny.spark.variables,
    }
    variables = {**tiny.variables(), "service_host": "hosts", "speech_serial": 1}
    done = tiny.playbook(
        "service", "--check", inventory=written(tiny, hosts), timeout=120, **variables
    )
    refused(done, "tiny on second", "of memory are available")
    assert done.failed == {"first": 0, "second": 1}, done.out


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            {"ansible_host": "127.0.0.1", "ansible_port": "1"},
            ("Connection refused", "Nothing is done on third, because of lost", "'all:!lost'"),
        ),
        ({"managed_service_memory_needed": "1000TB"}, ("of memory are available",)),
    ],
    ids=["unreachable", "failed"],
)
def test_no_other_batch_is_begun_when_a_host_was_lost(
    bad: dict[str, str],
    said: tuple[str, ...],
    tiny: TinyService,
    spark1: Spark,
    spark2: Spark,
) -> None:
    assert tiny.spark == spark2
    there = replace(tiny, spark=spark1)
    hosts = {
        "lost": {**spark1.variables, **bad},
        "beside": spark1.variables,
        "third": spark2.variables,
        "fourth": spark2.variables,
    }
    variables = tiny.variables(service_host="hosts", speech_serial=2)
    done = tiny.playbook("service", inventory=written(tiny, hosts), **variables)
    try:
        refused(done, *said)
        assert done.failed["lost"] == 1
        assert done.failed["beside"] == 0
        assert there.containers().keys() == {"tiny"}
        assert done.changed.get("third", 0) == done.changed.get("fourth", 0) == 0
        assert tiny.left() == ""
        assert not spark2.ssh("ls -A ~/.spark-speech", check=False).stdout
    finally:
        there.clear()


def test_a_host_where_somebody_works_leaves_no_lock_on_the_others(
    tiny: TinyService, spark1: Spark, spark2: Spark
) -> None:
    hosts = {spark.name: spark.variables for spark in (spark1, spark2)}
    spark1.ssh(f"mkdir -m 700 -p ~/.spark-speech; cat > {LOCK}", stdin=lock_of_another_run())
    try:
        variables = {**tiny.variables(managed_service_state="absent"), "service_host": "hosts"}
        done = tiny.playbook("service", inventory=written(tiny, hosts), **variables)
        refused(done, "tiny on spark1: Another run is at work here: somebody")
        assert done.failed == {"spark1": 1, "spark2": 0}
        assert "another" in spark1.ssh(f"cat {LOCK}").stdout
        assert spark2.ssh("ls -A ~/.spark-speech 2>/dev/null || true").stdout == ""
    finally:
        spark1.ssh("rm -r ~/.spark-speech")


def test_each_host_of_a_service_that_several_have_is_registered_by_its_own_name(
    tiny: TinyService, spark1: Spark, spark2: Spark
) -> None:
    inventory = written(tiny, {spark.name: spark.variables for spark in (spark1, spark2)})
    everything = json.loads(inventory.read_text())
    everything["all"]["children"]["services"] = everything["all"]["children"].pop("hosts")
    inventory.write_text(json.dumps(everything))
    variables = {**tiny.variables(), "service_host": "services"}
    foretold = tiny.playbook("service", "--check", "--diff", inventory=inventory, **variables)
    assert foretold.rc == 0, foretold.out
    for name in ("tiny.json", "tiny-spark2.json"):
        assert f"+++ after: {tiny.registration.with_name(name)}" in foretold.out


def test_where_control_cannot_be_reached_the_service_runs_and_the_run_fails(
    tiny: TinyService,
) -> None:
    away = {"ansible_host": "127.0.0.1", "ansible_port": "1", "ansible_connection": "ssh"}
    inventory = written(tiny, {tiny.spark.name: tiny.spark.variables}, **away)
    variables = tiny.variables(service_host="hosts")
    done = tiny.playbook("service", inventory=inventory, **variables)
    refused(
        done, "tiny runs, and localhost, which has to know of it, cannot be reached", "Run again"
    )
    assert tiny.answer() == {"status": "ready"}
    assert list(tiny.containers()) == [NAME]
    assert "lock" not in tiny.left()
    gone = tiny.run(managed_service_state="absent", managed_service_purge=True)
    assert gone.rc == 0, gone.out
    assert tiny.left() == ""

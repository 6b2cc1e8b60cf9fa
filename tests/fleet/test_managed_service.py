"""One service through all of its states, forwards and backwards, on a real host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fleet.checks import refused
from tests.fleet.fleet import Fleet
from tests.fleet.playbooks import Playbooks
from tests.fleet.tiny_service import NAME, PORT, READY, TinyService, make_tiny_service


@pytest.fixture(scope="module")
def tiny(
    fleet: Fleet, playbook: Playbooks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TinyService]:
    """The service, not installed; gone when the page ends. Its tests build on one another."""
    service = make_tiny_service(fleet, playbook, fleet.sparks[0], tmp_path_factory.mktemp("tiny"))
    yield service
    service.run(managed_service_state="absent", managed_service_purge=True)


def test_check_mode_foretells_an_installation_and_changes_nothing(tiny: TinyService) -> None:
    before = tiny.left()
    foretold = tiny.run("--check", "--diff")
    assert foretold.rc == 0, foretold.out
    assert foretold.changed["spark1"] > 0
    assert f"{NAME} would run spark-speech/{NAME}:" in foretold.out
    assert f"+++ after: {tiny.registration}" in foretold.out
    assert tiny.left() == before
    assert not tiny.registration.exists()


def test_it_is_installed_as_described(tiny: TinyService) -> None:
    done = tiny.run()
    assert done.rc == 0, done.out
    assert tiny.answer() == {"status": "ready"}
    container = tiny.inspected()
    host = container["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 64 * 1024**2
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["PortBindings"]["8000/tcp"] == [
        {"HostIp": tiny.spark.address, "HostPort": str(PORT)}
    ]
    assert container["Config"]["User"] == "1000:1000"


def test_control_knows_the_service_and_its_key(tiny: TinyService) -> None:
    registered = json.loads(tiny.registration.read_text())
    assert registered == {
        "name": NAME,
        "title": NAME,
        "kind": "speakers",
        "api": "whisperx",
        "base_url": tiny.url,
        "host": "spark1",
        "container": NAME,
        "auto_restart": True,
        "api_key_file": "tiny.key",
    }
    key = tiny.registration.with_suffix(".key")
    assert len(key.read_text()) == 43
    assert key.stat().st_mode & 0o007 == 0
    assert tiny.spark.docker("exec", NAME, "cat", "/run/speech/key") == key.read_text()
    assert tiny.spark.ssh("stat -c %a ~/.spark-speech/tiny/secrets/key").stdout == "600\n"


def test_what_was_rolled_out_is_written_down(tiny: TinyService) -> None:
    (line,) = tiny.spark.ssh("cat ~/.spark-speech/tiny/rollouts.jsonl").stdout.splitlines()
    record = json.loads(line)
    assert record["image"] == tiny.containers()[NAME]
    assert record["hash"] in record["image"]
    assert record["action"] == "install"
    assert record["by"]
    assert record["at"]


def test_a_second_run_changes_nothing(tiny: TinyService) -> None:
    started = tiny.inspected()["State"]["StartedAt"]
    for arguments in (("--check", "--diff"), ()):
        again = tiny.run(*arguments)
        assert again.rc == 0, again.out
        assert again.changed["spark1"] == 0, again.out
    assert tiny.inspected()["State"]["StartedAt"] == started


@pytest.mark.parametrize(
    ("state", "running", "changes_again"),
    [("stopped", False, 0), ("started", True, 0), ("restarted", True, 1)],
)
def test_it_is_started_stopped_and_started_again(
    tiny: TinyService, state: str, running: bool, changes_again: int
) -> None:
    made = tiny.inspected()["Created"]
    for changes in (1, changes_again):
        # As playbooks/service.yml says: nothing more has to be known of a service that is there.
        named: dict[str, Any] = {
            "managed_service_name": NAME,
            "managed_service_container": NAME,
        }
        done = tiny.playbook("service", service_host="spark1", managed_service_state=state, **named)
        assert done.rc == 0, done.out
        assert done.changed["spark1"] == changes
        assert tiny.inspected()["State"]["Running"] is running
    assert tiny.inspected()["Created"] == made


def test_another_setting_makes_another_container_and_no_other_image(tiny: TinyService) -> None:
    images, made = tiny.images(), tiny.inspected()["Created"]
    said = {"SAYS": "a b'c$d", "COUNT": 5, "IS_ON": True}
    changed = {"port": 8000, "memory": "96m", "read_only": True, "env": said}
    foretold = tiny.run("--check", "--diff", managed_service_run=changed)
    assert foretold.changed["spark1"] > 0
    assert tiny.inspected()["Created"] == made
    done = tiny.run(managed_service_run=changed)
    assert done.rc == 0, done.out
    assert tiny.images() == images
    assert list(tiny.containers()) == [NAME]
    shown = tiny.spark.docker("exec", NAME, "sh", "-c", 'echo "$SAYS $COUNT $IS_ON"')
    assert shown == "a b'c$d 5 true\n"
    assert tiny.inspected()["HostConfig"]["Memory"] == 96 * 1024**2


def test_more_memory_is_given_to_the_container_as_it_runs(tiny: TinyService) -> None:
    made = tiny.inspected()["Created"]
    said = {"SAYS": "a b'c$d", "COUNT": 5, "IS_ON": True}
    changed = {"port": 8000, "memory": "80m", "read_only": True, "env": said}
    for arguments in (("--check", "--diff"), ()):
        done = tiny.run(*arguments, managed_service_run=changed)
        assert done.rc == 0, done.out
        assert done.changed["spark1"] == 1
    assert tiny.inspected()["Created"] == made
    assert tiny.inspected()["HostConfig"]["Memory"] == 80 * 1024**2


def test_the_current_and_the_previous_image_are_kept_and_the_previous_one_comes_back(
    tiny: TinyService,
) -> None:
    tags = [*tiny.images()]
    for number in (2, 3):
        tiny.says(READY.replace("}", f', "version": {number}}}'))
        foretold = tiny.run("--check") if number == 3 else None
        done = tiny.run()
        assert done.rc == 0, done.out
        assert foretold is None or foretold.changed == done.changed
        assert tiny.answer()["version"] == number
        tags.append(tiny.containers()[NAME].rpartition(":")[2])
    assert tiny.images() == set(tags[1:])
    foretold = tiny.run("--check", managed_service_rollback=True)
    back = tiny.run(managed_service_rollback=True)
    assert back.rc == 0, back.out
    assert foretold.changed == back.changed
    assert tiny.answer()["version"] == 2
    assert tiny.images() == set(tags[1:])
    records = tiny.spark.ssh("cat ~/.spark-speech/tiny/rollouts.jsonl").stdout.splitlines()
    assert [json.loads(record)["action"] for record in records][-2:] == ["install", "rollback"]
    tiny.spark.docker("rmi", f"spark-speech/{NAME}:{tags[-1]}")
    refused(tiny.run("--check", managed_service_rollback=True), "is no image of spark1 any more")


def test_what_is_taken_away_leaves_images_and_records_for_the_next_time(tiny: TinyService) -> None:
    foretold = tiny.run("--check", "--diff", managed_service_state="absent")
    assert foretold.rc == 0, foretold.out
    assert foretold.changed["spark1"] > 0
    assert tiny.answer()
    for changes in (True, False):
        gone = tiny.run(managed_service_state="absent")
        assert gone.rc == 0, gone.out
        assert (gone.changed["spark1"] > 0) is changes
    assert tiny.containers() == {}
    assert not list(tiny.registration.parent.iterdir())
    assert tiny.images()
    assert "/secrets/" not in tiny.left()


def test_what_is_taken_away_is_written_down(tiny: TinyService) -> None:
    records = tiny.spark.ssh("cat ~/.spark-speech/tiny/rollouts.jsonl").stdout.splitlines()
    assert [json.loads(record)["action"] for record in records][-2:] == ["rollback", "absent"]


def test_a_purge_leaves_no_trace_but_an_image_that_another_container_has(
    tiny: TinyService,
) -> None:
    (tag,) = tiny.images()
    tiny.spark.docker("create", "--name", "other", f"spark-speech/{NAME}:{tag}")
    purge: dict[str, Any] = {"managed_service_state": "absent", "managed_service_purge": True}
    assert tiny.run(**purge).rc == 0
    assert tiny.images() == {tag}
    tiny.spark.docker("rm", "other")
    for changes in (True, False):
        gone = tiny.run(**purge)
        assert gone.rc == 0, gone.out
        assert (gone.changed["spark1"] > 0) is changes
    assert tiny.left() == ""


def test_a_service_without_a_container_is_only_registered(tiny: TinyService) -> None:
    llm = {
        "managed_service_name": "llm",
        "managed_service_container": "",
        "managed_service_build": {},
        "managed_service_run": {},
        "managed_service_key": False,
        "managed_service_kind": "llm",
        "managed_service_api": "openai",
    }
    url = f"http://{tiny.spark.address}:{PORT}"
    file = tiny.registration.with_name("llm.json")
    unreachable = tiny.run(**llm, managed_service_base_url=url, managed_service_start_timeout_s=3)
    assert unreachable.rc != 0
    assert not file.exists()
    assert tiny.run().rc == 0
    done = tiny.run(**llm, managed_service_base_url=url, managed_service_health_expect={})
    assert done.rc == 0, done.out
    assert json.loads(file.read_text())["base_url"] == url
    gone = tiny.run(**llm, managed_service_state="absent")
    assert gone.rc == 0, gone.out
    assert not file.exists()

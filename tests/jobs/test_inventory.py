"""The inventory, which Ansible takes seconds to read: once for all processes, and not per start."""

import json
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from proxy_app.config import load_config
from proxy_app.jobs.desk import Room
from proxy_app.jobs.project import ProjectError
from tests.jobs.house import House, eventually, settings
from tests.jobs.web import serving


@dataclass
class Inventory:
    """A script, as Ansible calls it: it lists what a file says, and counts how often."""

    folder: Path

    def __post_init__(self) -> None:
        names = ("hosts", "count", "wait")
        hosts, count, wait = (shlex.quote(str(self.folder / name)) for name in names)
        self.says("spark1")
        self.path.write_text(
            f"#!/bin/sh\necho x >> {count}\nwhile [ -e {wait} ]; do sleep 0.1; done\ncat {hosts}\n"
        )
        self.path.chmod(0o700)

    @property
    def path(self) -> Path:
        return self.folder / "script"

    def says(self, *hosts: str) -> None:
        listed = {"whisperx": {"hosts": hosts}, "_meta": {"hostvars": {}}}
        (self.folder / "hosts").write_text(json.dumps(listed))

    def waits(self) -> None:
        (self.folder / "wait").touch()

    def goes_on(self) -> None:
        (self.folder / "wait").unlink()

    @property
    def was_read(self) -> int:
        count = self.folder / "count"
        return len(count.read_text().splitlines()) if count.exists() else 0


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    folder = tmp_path / "an inventory"
    folder.mkdir()
    return Inventory(folder)


@pytest.fixture
def house(tmp_path: Path, inventory: Inventory) -> Iterator[House]:
    made = House(settings(tmp_path, SPEECH_INVENTORY=str(inventory.path)))
    yield made
    made.room.close()


def hosts(room: Room) -> list[str]:
    return list(room.project.hosts().logins)


def another(house: House) -> Room:
    """What another process has of the same house."""
    return Room(load_config(house.environ))


def test_the_first_page_of_a_worker_does_not_wait_for_ansible(
    house: House, inventory: Inventory
) -> None:
    assert hosts(house.room) == ["spark1"]
    inventory.waits()
    with serving(house) as web:
        page = requests.get(web.url, timeout=60)
    assert page.status_code == 200
    assert '<input type="hidden" name="host" value="spark1">' in page.text
    assert inventory.was_read == 1


def test_processes_that_want_it_at_once_have_it_read_once(
    house: House, inventory: Inventory
) -> None:
    inventory.waits()
    found: list[list[str]] = []
    rooms = [another(house) for _ in range(4)]
    asking = [threading.Thread(target=lambda it=it: found.append(hosts(it))) for it in rooms]
    for each in asking:
        each.start()
    assert eventually(lambda: inventory.was_read)
    inventory.goes_on()
    for each in asking:
        each.join()
    assert (found, inventory.was_read) == ([["spark1"]] * 4, 1)


def test_it_is_read_again_when_a_file_of_it_changes(house: House, inventory: Inventory) -> None:
    assert hosts(house.room) == ["spark1"]
    inventory.says("spark1", "spark2")
    inventory.path.write_text(inventory.path.read_text() + "# changed\n")
    assert hosts(house.room) == ["spark1", "spark2"]


def test_what_a_script_lists_anew_is_found_out_for_all_when_the_watch_process_starts(
    house: House, inventory: Inventory
) -> None:
    assert hosts(house.room) == ["spark1"]
    inventory.says("spark2")
    assert hosts(another(house)) == ["spark1"]
    another(house).project.read_again()
    assert hosts(house.room) == ["spark2"]
    assert inventory.was_read == 2


def test_what_is_kept_is_this_users_alone_and_may_be_broken(
    house: House, inventory: Inventory
) -> None:
    assert hosts(house.room) == ["spark1"]
    kept = house.state / "inventory-read.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    for broken in ("", "[]", '{"made_of": 1}'):
        kept.write_text(broken)
        assert hosts(another(house)) == ["spark1"]
    assert inventory.was_read == 4


def test_an_inventory_that_cannot_be_read_is_not_tried_by_every_caller_again(
    house: House, inventory: Inventory
) -> None:
    (inventory.folder / "hosts").write_text("this is no JSON")
    for _ in range(5):
        with pytest.raises(ProjectError, match="the gateway's log has the reason"):
            house.room.project.hosts()
    assert inventory.was_read == 1
    inventory.says("spark1")
    inventory.path.write_text(inventory.path.read_text() + "# mended\n")
    assert hosts(house.room) == ["spark1"]

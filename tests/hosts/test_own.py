"""The page's own inventory, as Ansible reads it; its key; files that others cannot read."""

import json
import multiprocessing
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from proxy_app.hosts.own import Host, OwnHosts, OwnHostsError
from proxy_app.jobs.project import ProjectError
from tests.hosts.conftest import empty_house
from tests.jobs.house import House

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHdqDVa5x1U2nIGSgVvPIQ3FJlJmUHSnqVvqyXwHZGw7"
SPARK = Host("spark1", "10.0.0.7", 22, "me", ("whisperx", "magpie"), KEY)
OTHER = Host("spark2", "fd00::7", 2222, "you", (), KEY)


@pytest.fixture
def own(tmp_path: Path) -> OwnHosts:
    return OwnHosts(tmp_path / "a state" / "hosts", services=tmp_path / "services.d")


def test_what_is_added_is_there_until_it_is_taken_away(own: OwnHosts) -> None:
    assert own.hosts() == ()
    assert own.inventory() is None
    assert own.add(SPARK)
    assert own.add(OTHER)
    assert not own.add(SPARK)
    assert own.hosts() == (SPARK, OTHER)
    assert own.remove("spark1")
    assert not own.remove("spark1")
    assert own.hosts() == (OTHER,)
    assert own.remove("spark2")
    assert own.inventory() is None


def test_hosts_that_are_added_at_once_are_all_there(own: OwnHosts) -> None:
    names = [f"spark{number}" for number in range(20)]

    def add(name: str) -> None:
        assert own.add(Host(name, "10.0.0.7", 22, "me", (), KEY))
        assert own.inventory()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, names))
    assert sorted(host.name for host in own.hosts()) == sorted(names)
    lines = own.known_hosts.read_text().splitlines()
    assert lines == [f"10.0.0.7 {KEY}"] * 20


def test_fields_of_a_host_are_changed_and_it_keeps_its_place(own: OwnHosts) -> None:
    own.add(SPARK)
    own.add(OTHER)
    assert own.change("spark1", address="10.0.0.8", groups=("parakeet",))
    assert not own.change("spark3", user="you")
    changed = replace(SPARK, address="10.0.0.8", groups=("parakeet",))
    assert own.hosts() == (changed, OTHER)
    assert own.known_hosts.read_text() == f"10.0.0.8 {KEY}\n[fd00::7]:2222 {KEY}\n"


def test_changes_at_once_lose_none(own: OwnHosts) -> None:
    names = [f"spark{number}" for number in range(12)]
    for name in names:
        own.add(Host(name, "10.0.0.7", 22, "me", (), KEY))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: own.change(name, user=name), names))
        list(pool.map(lambda name: own.change(name, groups=("magpie",)), names))
    assert {(host.name, host.user, host.groups) for host in own.hosts()} == {
        (name, name, ("magpie",)) for name in names
    }


def made(folder: Path) -> str:
    return OwnHosts(folder, services=folder).public_key().text


def test_the_key_is_made_once_however_many_processes_want_it(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        keys = set(pool.map(made, [tmp_path / "hosts"] * 6))
    assert len(keys) == 1
    assert keys.pop().startswith("ssh-ed25519 AAAA")
    left = sorted(path.name for path in (tmp_path / "hosts").iterdir())
    assert left == ["key.lock", "ssh_key", "ssh_key.pub"]


def test_the_fingerprint_of_the_key_is_what_ssh_shows(own: OwnHosts, tmp_path: Path) -> None:
    key = own.public_key()
    file = tmp_path / "key.pub"
    file.write_text(key.text)
    said = subprocess.run(["ssh-keygen", "-lf", file], capture_output=True, text=True, check=True)
    assert said.stdout.split()[1] == key.fingerprint
    assert said.stdout.split()[-1] == "(ED25519)"


def test_its_files_are_this_users_alone(own: OwnHosts) -> None:
    own.add(SPARK)
    own.control()
    folder = own.ssh_config.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    secret = {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()}
    assert secret.pop("ssh_key") == 0
    assert secret.pop("inventory.json") == 0
    assert "known_hosts" in secret


def test_ssh_takes_the_configuration_also_in_a_folder_with_a_space(own: OwnHosts) -> None:
    own.add(OTHER)
    command = ["ssh", "-G", "-F", str(own.ssh_config), "-p", "2222", "-l", "you", "--", "fd00::7"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    folder = own.ssh_config.parent
    assert f"identityfile {folder}/ssh_key\n" in said
    assert f"userknownhostsfile {folder}/known_hosts\n" in said
    assert "stricthostkeychecking true\n" in said
    assert own.known_hosts.read_text() == f"[fd00::7]:2222 {KEY}\n"
    asks = ["ssh-keygen", "-F", "[fd00::7]:2222", "-f", str(own.known_hosts)]
    assert subprocess.run(asks, capture_output=True, check=False).returncode == 0


def test_a_folder_that_was_moved_is_right_again(own: OwnHosts, tmp_path: Path) -> None:
    own.add(SPARK)
    moved = tmp_path / "elsewhere"
    own.ssh_config.parent.rename(moved)
    (moved / "known_hosts").unlink()
    there = OwnHosts(moved, services=tmp_path)
    inventory = there.inventory()
    assert inventory
    assert "a state" not in inventory.read_text() + there.ssh_config.read_text()
    assert there.known_hosts.read_text() == f"10.0.0.7 {KEY}\n"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"all": {"hosts": {"a": {}}, "children": {}}}'])
def test_an_inventory_that_is_none_is_said_to_be_none(own: OwnHosts, text: str) -> None:
    own.add(SPARK)
    (own.ssh_config.parent / "inventory.json").write_text(text)
    with pytest.raises(OwnHostsError, match="restore it from a backup"):
        own.hosts()
    with pytest.raises(OwnHostsError):
        own.add(OTHER)


def test_ansible_reads_both_inventories_and_those_of_the_operator_come_first(
    tmp_path: Path,
) -> None:
    """What the operator's groups say of all hosts is not true of one that the page reaches."""
    everywhere = {
        "ansible_connection": "local", "ansible_user": "root", "speech_bind_address": "127.0.0.1",
        "ansible_python_interpreter": "/no/such/python", "whisperx_model": "small",
    }  # fmt: skip
    operators = {
        "all": {
            "vars": everywhere,
            "children": {
                "whisperx": {"hosts": {"first": None}},
                "control": {"hosts": {"first": None}},
            },
        }
    }
    house = empty_house(tmp_path / "house", operators)
    project = house.room.project
    assert project.hosts().groups["whisperx"] == ("first",)
    house.room.own_hosts.add(SPARK)
    hosts = project.hosts()
    assert hosts.groups["whisperx"] == ("first", "spark1")
    assert hosts.groups["magpie"] == ("spark1",)
    login = hosts.logins["spark1"]
    assert (login.address, login.port, login.user) == ("10.0.0.7", 22, "me")
    assert (login.connection, hosts.logins["first"].connection) == ("ssh", "local")
    sources = project.inventories()
    assert sources == [project.inventory, house.state / "hosts/inventory.json"]
    listed = _host(house, "spark1")
    assert (listed["speech_bind_address"], listed["whisperx_model"]) == ("", "small")
    assert listed["ansible_python_interpreter"] == "auto_silent"
    house.room.own_hosts.remove("spark1")
    assert project.hosts().groups["whisperx"] == ("first",)
    assert project.inventories() == [project.inventory]
    house.room.close()


def test_where_no_inventory_has_a_control_this_machine_is_told_what_is_installed(
    house: House,
) -> None:
    house.room.own_hosts.add(SPARK)
    assert list(house.room.project.hosts().logins) == ["spark1"]
    assert len(house.room.project.inventories()) == 3
    page = _host(house, "spark-speech-page")
    assert (page["ansible_connection"], page["speech_services_dir"]) == (
        "local", str(house.state.resolve() / "services.d"),
    )  # fmt: skip


def test_an_inventory_of_the_page_that_cannot_be_read_is_told_where_jobs_are_asked_for(
    house: House,
) -> None:
    house.room.own_hosts.add(SPARK)
    (house.state / "hosts/inventory.json").write_text("{")
    with pytest.raises(ProjectError, match="restore it from a backup"):
        house.room.project.hosts()


def _host(house: House, name: str) -> dict[str, str]:
    project = house.room.project
    sources = [f"--inventory={path}" for path in project.inventories()]
    command = [project.program("ansible-inventory"), *sources, "--host", name]
    environ = project.environment(house.environ)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found

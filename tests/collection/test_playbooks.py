"""The playbooks and inventories as a person starts them, and as the README writes them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv/ansible/bin"
PLAYBOOKS = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml"))
SITE = "playbooks/site.yml"
COMMANDS = re.findall(
    r"^\.venv/ansible/bin/(\S+) (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE
)


def run(command: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Ansible from the checkout."""
    if not BIN.is_dir():
        pytest.skip(f"the environment of the playbooks is not there: no {BIN}")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    path = {"PATH": f"{BIN}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [str(BIN / command), *arguments],
        cwd=ROOT,
        env=kept | path | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def ansible(command: str, *arguments: str) -> str:
    """What a command of Ansible prints that succeeds."""
    done = run(command, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbook_can_be_read(playbook: str) -> None:
    ansible("ansible-playbook", "--syntax-check", f"playbooks/{playbook}")


def registers_at(*inventory: str) -> str:
    """Where the control host of an inventory has its registrations."""
    debug = ("-m", "ansible.builtin.debug", "-a", "var=speech_services_dir")
    said = ansible("ansible", "control", *inventory, *debug)
    return said.partition("speech_services_dir: ")[2].strip()


def test_this_machine_is_the_default_inventory() -> None:
    hosts = json.loads(ansible("ansible-inventory", "--list"))
    assert hosts["control"]["hosts"] == ["localhost"]
    assert hosts["whisperx"]["hosts"] == ["localhost"]
    variables = hosts["_meta"]["hostvars"]["localhost"]
    assert variables["ansible_connection"] == "local"
    assert registers_at() == str(ROOT / "services.d")


def test_a_copy_of_the_example_registers_where_make_up_looks(tmp_path: Path) -> None:
    mine = tmp_path / "inventory/mine"
    shutil.copytree(ROOT / "inventory/example", mine)
    assert registers_at("-i", str(mine)) == str(tmp_path / "services.d")


@pytest.mark.parametrize("inventory", ["local", "example"])
def test_this_machine_needs_no_other_python_than_ansibles_own(
    inventory: str, tmp_path: Path
) -> None:
    names = {"python", "python3", *(f"python3.{minor}" for minor in range(8, 20))}
    for name in names:
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    ping = ("control", "-i", f"inventory/{inventory}", "-m", "ansible.builtin.ping")
    done = run("ansible", *ping, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_has_a_host_for_each_playbook_of_the_site() -> None:
    hosts = json.loads(ansible("ansible-inventory", "-i", "inventory/example", "--list"))
    assert {hosts[group]["hosts"][0] for group in ("whisperx", "parakeet", "magpie")} == {
        "spark1",
        "spark2",
    }
    assert hosts["sortformer"]["hosts"] == hosts["parakeet"]["hosts"]
    assert hosts["control"]["hosts"] == ["localhost"]


@pytest.mark.parametrize(
    ("hosts", "patched_by"),
    [("spark2", {"Parakeet"}), ("spark1", {"Sortformer"})],
    ids=["ours", "a stranger's"],
)
def test_the_site_patches_each_container_once(
    hosts: str, patched_by: set[str], tmp_path: Path
) -> None:
    groups: dict[str, Any] = {
        "parakeet": {"hosts": {"spark2": {}}},
        "sortformer": {"hosts": {hosts: {}}},
    }
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"all": {"children": groups}}))
    told = ansible("ansible-playbook", "-i", str(inventory), "--list-hosts", "--list-tasks", SITE)
    plays = re.findall(r"play #\d+ \(.*?\): (\w+)(.*?)(?=\n\n|\Z)", told, re.DOTALL)
    assert {name for name, play in plays if hosts in play and "sortformer : " in play} == patched_by


def test_the_commands_of_the_readme_name_what_is_there() -> None:
    assert COMMANDS
    for command, arguments in COMMANDS:
        words = arguments.split()
        assert command == "ansible-playbook"
        assert words[:2] == ["-i", "inventory/mine"]
        assert (ROOT / words[2]).is_file()
        assert set(words[3:]) <= {"--check", "--diff"}


def test_the_site_ends_at_a_lost_host_that_was_alone_in_its_playbook(tmp_path: Path) -> None:
    """As docs/ci.md says: Ansible begins no other playbook then, also none for other hosts."""
    away = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    groups = {
        "whisperx": {"hosts": {"away": away}},
        "parakeet": {"hosts": {"here": {"ansible_connection": "local"}}},
    }
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"all": {"children": groups}}))
    done = run("ansible-playbook", "-i", str(inventory), "--check", SITE)
    assert done.returncode == 4, done.stdout
    assert re.findall(r"^PLAY \[(\w+)\]", done.stdout, re.MULTILINE) == ["WhisperX"]
    assert re.findall(r"^(\w+) +: ok=", done.stdout, re.MULTILINE) == ["away"]


# How SSH tells it differs: who is refused at once may end before it was given the module.
AWAY = "127.0.0.1"
DOCKER = "Docker daemon does not answer"
ASKED = "leave out -e whisperx_state"
ABSENT = {"whisperx_state": "absent"}


@pytest.mark.parametrize(
    ("limit", "extra", "why"),
    [
        ([], {}, {"away": AWAY, "here": DOCKER}),
        ([], ABSENT, {"away": AWAY, "here": ASKED}),
        (["--limit", "here"], {}, {"here": DOCKER}),
        (["--limit", "away"], {}, {"away": AWAY}),
    ],
    ids=["all hosts", "another state", "one host", "one host that cannot be reached"],
)
def test_the_status_tells_what_it_could_not_look_at(
    limit: list[str], extra: dict[str, str], why: dict[str, str], tmp_path: Path
) -> None:
    local = {"ansible_connection": "local"}
    hosts = {"away": {"ansible_host": "127.0.0.1", "ansible_port": 1}, "here": local}
    groups = {"whisperx": {"hosts": hosts}, "control": {"hosts": {"localhost": local}}}
    python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"all": {"vars": python, "children": groups}}))
    command = ("-i", str(inventory), "-e", json.dumps(extra), *limit, "playbooks/status.yml")
    done = run("ansible-playbook", *command, DOCKER_HOST="unix:///nowhere")
    assert done.returncode == 2, done.stdout
    table = done.stdout.partition("DRIFT")[2].partition("\n\n")[0]
    rows = {row[0]: row[1:] for row in (line.split(maxsplit=4) for line in table.splitlines()[1:])}
    assert rows.keys() == why.keys(), done.stdout
    for host, reason in why.items():
        state = "unreachable" if host == "away" else "unknown"
        assert rows[host][:3] == ["whisperx", state, "-"]
        assert reason in rows[host][3]
        assert f"fatal: [{host}]" in done.stdout


def test_a_docker_that_cannot_build_is_told_before_anything_is_shipped(
    docker_without_buildx: dict[str, str], tmp_path: Path
) -> None:
    variables = {
        "service_host": "localhost",
        "speech_state_dir": str(tmp_path / "state"),
        "speech_sources": str(ROOT / "tests/fleet/contexts"),
        "managed_service_name": "tiny",
        "managed_service_container": "spark-test-unbuilt",
        "managed_service_build": {"name": "tiny"},
    }
    command = ("-e", json.dumps(variables), "--check", "playbooks/service.yml")
    done = run("ansible-playbook", *command, **docker_without_buildx)
    assert done.returncode == 2, done.stdout
    said = " ".join(done.stdout.split())
    assert "tiny cannot be built on localhost: Docker builds images with its buildx plugin" in said
    assert not (tmp_path / "state").exists()


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the service of each case is told, on this machine and without Docker, in one run."""
    folder = tmp_path_factory.mktemp("refusals")
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "speech_state_dir": str(folder / "state"),
        "managed_service_container": "spark-test-refused",
    }
    cases = {
        name: {"managed_service_name": "tiny", **given} for name, (given, _) in REFUSED.items()
    }
    inventory, play = folder / "cases.yml", folder / "play.yml"
    inventory.write_text(json.dumps({"all": {"vars": common, "hosts": cases}}))
    role = {"ansible.builtin.include_role": {"name": "spark.speech.managed_service"}}
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [role]}]))
    command = ("-i", str(inventory), str(play))
    done = run("ansible-playbook", *command, DOCKER_HOST="unix:///nowhere")
    assert not (folder / "state").exists()
    found = re.split(r"^fatal: \[(\w+)", done.stdout, flags=re.MULTILINE)[1:]
    return {
        host: " ".join(said.split()) for host, said in zip(found[::2], found[1::2], strict=True)
    }


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    state: ({"managed_service_state": state}, "Start it: sudo systemctl start docker")
    for state in ("started", "stopped", "restarted")
} | {
    "no_container": (
        {"managed_service_state": "restarted", "managed_service_container": ""},
        "nothing that can be restarted: tiny is only registered",
    ),
    "aside": ({"managed_service_name": "aside"}, "choose another name"),
    "sortformer": (
        {"managed_service_name": "sortformer", "managed_service_state": "absent"},
        "choose another name",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_service_cannot_be_is_told(refusals: dict[str, str], case: str) -> None:
    assert REFUSED[case][1] in refusals[case]

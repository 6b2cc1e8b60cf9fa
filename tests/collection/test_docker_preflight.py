"""What a host is asked before anything is changed on it."""

import ipaddress
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import Result
from ansible_collections.spark.speech.plugins.modules import docker_preflight
from ansible_collections.spark.speech.plugins.modules.docker_preflight import Listener

from tests.collection.conftest import RunModule, docker_versions

OURS = {"service": "whisperx", "container": "spark-test-preflight"}


def at(address: str, port: int = 8002) -> Listener:
    return Listener(ipaddress.ip_address(address), port, "someone")


@pytest.mark.parametrize(
    ("wanted", "listening", "taken"),
    [
        ("127.0.0.1", at("127.0.0.1"), True),
        ("127.0.0.1", at("127.0.0.1", 8003), False),
        ("127.0.0.1", at("192.168.1.2"), False),
        ("127.0.0.1", at("0.0.0.0"), True),
        ("127.0.0.1", at("::"), True),
        ("127.0.0.1", at("::1"), False),
        ("0.0.0.0", at("192.168.1.2"), True),
        ("0.0.0.0", at("::1"), False),
        ("::1", at("::1"), True),
        ("::1", at("0.0.0.0"), False),
        ("::", at("::1"), True),
    ],
)
def test_an_address_is_taken_by_a_listener_on_it_or_on_all(
    wanted: str, listening: Listener, taken: bool
) -> None:
    assert (docker_preflight.in_the_way(wanted, 8002, [listening]) is not None) == taken


class Stranger(NamedTuple):
    """A process that listens."""

    address: str
    port: int
    pid: int


LISTEN = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 0), family=family) as listening:
    print(listening.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["127.0.0.1", "::1", "0.0.0.0", "::"])
def stranger(request: pytest.FixtureRequest) -> Iterator[Stranger]:
    """Not this process, whose forks would have its sockets, too."""
    command = [sys.executable, "-c", LISTEN, request.param]
    with subprocess.Popen(
        command,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        said = process.stdout.readline()
        if not said:
            pytest.skip(f"{request.param} cannot be used here: {process.communicate()[1]}")
        yield Stranger(request.param, int(said), process.pid)


def test_this_machines_own_table_of_sockets_is_read(stranger: Stranger) -> None:
    address, port, pid = stranger
    found = [each for each in docker_preflight.listeners_here() if each.port == port]
    assert [str(each.address) for each in found] == [address]
    assert f"process {pid} (" in docker_preflight.process_of(found[0].owner)


def test_a_socket_of_nobody_we_know_is_another_users() -> None:
    assert docker_preflight.process_of("0") == "a process of another user"


def test_a_port_that_a_process_listens_on_is_taken_and_the_process_named(
    stranger: Stranger, run_module: RunModule
) -> None:
    address, port, pid = stranger
    answer = run_module("docker_preflight", **OURS, port=port, bind_address=address)
    assert answer["failed"]
    assert f"process {pid} (" in answer["facts"]["owner_of_port"]
    assert [each["check"] for each in answer["problems"] if each["check"] == "port"] == ["port"]
    assert f"Port {port} of {address} is taken by process {pid}" in answer["msg"]
    assert "choose another port for whisperx" in answer["msg"]


@pytest.mark.parametrize(
    ("address", "said"),
    [("192.0.2.1", "cannot be used here"), ("spark", "not an IP address"), ("-x", "not an IP")],
)
def test_an_address_that_is_not_the_hosts_is_refused(address: str, said: str) -> None:
    problem = docker_preflight.address_problem(address)
    assert problem is not None
    assert said in problem["said"]
    assert "ip address" in problem["todo"]


def test_the_hosts_own_addresses_are_good() -> None:
    assert docker_preflight.address_problem("127.0.0.1") is None
    assert docker_preflight.address_problem("0.0.0.0") is None


def test_available_memory_is_read_in_bytes() -> None:
    text = "MemTotal:       16000 kB\nMemFree: 1 kB\nMemAvailable:    2000 kB\n"
    assert docker_preflight.available_bytes(text) == 2_048_000
    assert docker_preflight.available_bytes("MemTotal: 16000 kB\n") is None


def test_free_disk_is_that_of_the_folder_and_unknown_on_another_machine(tmp_path: Path) -> None:
    free = docker_preflight.free_bytes(str(tmp_path))
    assert free is not None
    assert free > 0
    assert docker_preflight.free_bytes(str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("runtimes", "specification", "device", "expected"),
    [
        (["runc", "nvidia"], None, True, True),
        (["runc", "nvidia"], None, False, False),
        (["runc"], "nvidia.yaml", True, True),
        (["runc"], "intel.yaml", True, False),
        (["runc"], None, True, False),
    ],
)
def test_a_gpu_needs_a_device_and_a_way_for_docker_to_hand_it_on(
    *,
    runtimes: list[str],
    specification: str | None,
    device: bool,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "device").touch()
    (tmp_path / "cdi").mkdir()
    if specification:
        (tmp_path / "cdi" / specification).touch()
    devices = [tmp_path / ("device" if device else "none")]
    monkeypatch.setattr(docker_preflight, "_GPU_DEVICES", devices)
    info = {"Runtimes": {name: {} for name in runtimes}, "CDISpecDirs": [str(tmp_path / "cdi")]}
    assert docker_preflight.has_gpu(info) == expected


def test_an_engine_that_is_away_is_a_problem_also_where_docker_info_says_success() -> None:
    away = ["Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"]
    for result in (Result(0, json.dumps({"ServerErrors": away}), ""), Result(1, "", away[0])):
        info, problem = docker_preflight.parse_info(result)
        assert info is None
        assert problem is not None
        assert "systemctl start docker" in problem["todo"]


def test_a_docker_that_cannot_build_without_its_plugin_says_so(
    run_module: RunModule, without_buildx: Callable[[str], dict[str, str]]
) -> None:
    for client, version in docker_versions().items():
        answer = run_module("docker_preflight", **OURS, env=without_buildx(client))
        assert "failed" not in answer, answer
        told = answer["facts"]["no_build"]
        assert ("Install docker-buildx-plugin" in told) is (version >= 23), told


def test_all_problems_are_told_at_once(run_module: RunModule, tmp_path: Path) -> None:
    answer = run_module(
        "docker_preflight",
        **OURS,
        port=8002,
        bind_address="192.0.2.1",
        memory_bytes=10**18,
        env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"},
    )
    assert [each["check"] for each in answer["problems"]] == ["docker", "memory", "address"]
    assert answer["msg"].startswith("This host cannot run whisperx yet:")
    assert all(each["said"] in answer["msg"] for each in answer["problems"])
    assert all(each["todo"] in answer["msg"] for each in answer["problems"])
    assert answer["facts"]["docker_version"] is None
    assert answer["facts"]["available_bytes"] > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"container": "-v"}, "not the name of a container"),
        ({"service": "a;b"}, "not the name of a service"),
        ({"image": "--all"}, "not the name of an image"),
        ({"port": 0}, "not a port"),
        ({"port": 65536}, "not a port"),
        ({"gpu": "maybe"}, "value of gpu"),
    ],
)
def test_a_bad_option_is_refused(
    options: dict[str, object], said: str, run_module: RunModule
) -> None:
    answer = run_module("docker_preflight", **{**OURS, **options})
    assert answer["failed"]
    assert said in answer["msg"]


def test_a_host_that_has_everything_passes(
    run_module: RunModule, docker: Callable[..., str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    answer = run_module(
        "docker_preflight",
        **OURS,
        port=port,
        bind_address="127.0.0.1",
        disk_bytes=1,
        memory_bytes=1,
    )
    assert "failed" not in answer, answer
    assert not answer["changed"]
    assert answer["problems"] == []
    facts = answer["facts"]
    assert facts["docker_version"] == docker("version", "--format", "{{.Server.Version}}")
    assert facts["root_dir"] == docker("info", "--format", "{{.DockerRootDir}}")
    assert facts["owner_of_port"] is None
    assert facts["has_gpu"] in (True, False)
    assert facts["no_build"] == ""


def test_too_little_disk_is_a_problem_unless_the_image_is_there(
    run_module: RunModule, docker: Callable[..., str], base_image: str
) -> None:
    short = run_module("docker_preflight", **OURS, disk_bytes=10**18)
    if short["facts"]["free_bytes"] is None:
        pytest.skip("the engine's disk is on another machine")
    assert [each["check"] for each in short["problems"]] == ["disk"]
    assert "docker builder prune" in short["msg"]
    there = run_module("docker_preflight", **OURS, disk_bytes=10**18, image=base_image)
    assert "failed" not in there


def test_a_container_of_ours_may_hold_its_port_and_another_one_may_not(
    run_module: RunModule, docker: Callable[..., str], base_image: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    name = OURS["container"]
    docker("network", "create", name)
    try:
        publish = ["--network", name, "--publish", f"127.0.0.1:{port}:80"]
        label = f"spark.speech.service={OURS['service']}"
        run = ("run", "--detach", "--name", name, *publish)
        docker(*run, base_image, "sleep", "600")
        refused = run_module("docker_preflight", **OURS)
        assert [each["check"] for each in refused["problems"]] == ["container"]
        assert "failed" not in run_module("docker_preflight", **OURS, adopt=True)
        docker("rm", "--force", name)
        docker(*run, "--label", label, base_image, "sleep", "600")
        options = {"port": port, "bind_address": "127.0.0.1", "memory_bytes": 10**18}
        ours = run_module("docker_preflight", **OURS, **options)
        assert "failed" not in ours, "its own port and memory are what it has already"
        assert ours["facts"]["owner_of_port"] == f"container {name}"
        assert base_image in ours["facts"]["images"]
        assert ours["facts"]["image"] == base_image
        assert (ours["facts"]["runs"], ours["facts"]["is_aside"]) == (True, False)
        docker("rename", name, f"{name}-previous")
        assert run_module("docker_preflight", **OURS)["facts"]["is_aside"] is True
        docker("rename", f"{name}-previous", name)
        (tmp_path / "aside").mkdir()
        (tmp_path / "aside" / f"{name}.json").touch()
        there = run_module("docker_preflight", **OURS, state_dir=str(tmp_path))
        assert there["facts"]["is_aside"] is True
        other = {"service": "whisperx", "container": "spark-test-other"}
        theirs = run_module("docker_preflight", **other, port=port, bind_address="127.0.0.1")
        assert [each["check"] for each in theirs["problems"]] == ["port"]
        assert f"taken by container {name}" in theirs["msg"]
    finally:
        docker("rm", "--force", name)
        docker("network", "rm", name)

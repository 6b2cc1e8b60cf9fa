"""What goes wrong on real hosts: nothing half done remains, and the message says what to do."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.checks import WITHIN_S, refused, wait_for
from tests.fleet.fleet import Fleet
from tests.fleet.gate import Gate, closed_gate
from tests.fleet.playbooks import Playbooks
from tests.fleet.spark import make_key
from tests.fleet.tiny_service import LOADING, NAME, PORT, READY, TinyService, make_tiny_service


@pytest.fixture(scope="module")
def tiny(
    fleet: Fleet, playbook: Playbooks, tmp_path_factory: pytest.TempPathFactory
) -> TinyService:
    """The service on the second host."""
    return make_tiny_service(fleet, playbook, fleet.sparks[-1], tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def nothing_is_left(tiny: TinyService, request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test nothing half done is on the host; what is there wholly is taken away.

    The service stays where a test wants it to be there, and goes before one that does not.
    """
    tiny.says(READY)
    wants_it = "before" in request.fixturenames
    if not wants_it and tiny.registration.exists():
        tiny.clear()
    yield
    assert tiny.half_done() == ""
    if not wants_it:
        tiny.clear()


@pytest.fixture
def before(tiny: TinyService, nothing_is_left: None) -> str:
    """The id of its container, which is there and answers."""
    if not tiny.containers():
        assert tiny.run().rc == 0
    assert tiny.answer() == {"status": "ready"}
    return str(tiny.inspected()["Id"])


def inventory_with(tiny: TinyService, **variables: str) -> Path:
    """The fleet's inventory with other variables of the service's host."""
    everything = json.loads(tiny.playbook.inventory.read_text())
    for group in everything["all"]["children"].values():
        if tiny.spark.name in group["hosts"]:
            group["hosts"][tiny.spark.name] |= variables
    path = tiny.folder / "inventory.yml"
    path.write_text(json.dumps(everything))
    return path


def test_an_unreachable_host_is_told(tiny: TinyService) -> None:
    inventory = inventory_with(tiny, ansible_host="127.0.0.1", ansible_port="1")
    refused(tiny.run("-i", str(inventory)), "UNREACHABLE", "Connection refused")


def test_a_wrong_key_is_told(tiny: TinyService) -> None:
    key = tiny.folder / "stranger"
    make_key(key)
    # A connection that is still open from before would do.
    alone = "-o ControlMaster=no -o ControlPath=none"
    inventory = inventory_with(
        tiny, ansible_ssh_private_key_file=str(key), ansible_ssh_extra_args=alone
    )
    refused(tiny.run("-i", str(inventory)), "UNREACHABLE", "Permission denied")


def test_a_host_that_shows_another_key_is_not_talked_to(tiny: TinyService) -> None:
    with tiny.spark.with_another_host_key():
        refused(tiny.run(), "UNREACHABLE", "Host key verification failed")


def test_a_host_without_docker_is_told_what_to_install(tiny: TinyService) -> None:
    with tiny.spark.without_docker():
        refused(tiny.run(), "Install Docker")


def test_a_user_who_may_not_use_docker_is_told_the_group(tiny: TinyService) -> None:
    with tiny.spark.without_permission():
        refused(tiny.run(), "docker group")


def test_root_is_told_to_log_in_as_somebody_else(tiny: TinyService) -> None:
    inventory = inventory_with(
        tiny,
        ansible_connection="community.docker.docker",
        ansible_host=tiny.spark.container,
        ansible_docker_extra_args=f"--host={tiny.fleet.engine.host}",
        ansible_user="root",
    )
    refused(tiny.run("-i", str(inventory)), "as a user in the docker group", "not as root")
    assert "spark-speech" not in tiny.spark.root("ls", "-A", "/root")


def test_a_host_whose_docker_is_stopped_is_told_to_start_it(tiny: TinyService) -> None:
    with tiny.spark.without_dockerd():
        refused(tiny.run(), "systemctl start docker")


def test_a_port_that_a_stranger_has_is_told_before_anything_is_built(tiny: TinyService) -> None:
    address = f"{tiny.spark.address}:{PORT}:8000"
    image = tiny.fleet.images.tiny
    tiny.spark.docker("run", "-d", "--name", "stranger", "-p", address, image, "sleep", "600")
    try:
        refused(tiny.run(), str(PORT), "stranger")
        assert tiny.images() == set()
        assert tiny.containers() == {"stranger": image}
    finally:
        tiny.spark.docker("rm", "--force", "stranger")


def test_text_that_looks_like_a_template_stays_text(tiny: TinyService) -> None:
    title = "{{ lookup('pipe', 'id') }}; $(id)\n-x"
    said = {"port": 8000, "env": {"SAYS": {"__ansible_unsafe": title}}}
    done = tiny.run(managed_service_title={"__ansible_unsafe": title}, managed_service_run=said)
    assert done.rc == 0, done.out
    assert json.loads(tiny.registration.read_text())["title"] == title
    assert tiny.spark.docker("exec", NAME, "sh", "-c", 'echo "$SAYS"') == f"{title}\n"


def test_a_first_container_that_never_gets_ready_is_removed(tiny: TinyService) -> None:
    tiny.says(LOADING)
    failed = tiny.run(managed_service_start_timeout_s=6)
    refused(failed, 'status is "loading"', "the new one was removed")
    assert tiny.containers() == {}
    assert not tiny.registration.exists()


def test_a_new_container_that_never_gets_ready_gives_way_to_the_one_before(
    tiny: TinyService, before: str
) -> None:
    tiny.says(LOADING)
    refused(tiny.run(managed_service_start_timeout_s=6), 'status is "loading"', "runs")
    assert tiny.inspected()["Id"] == before
    assert tiny.answer() == {"status": "ready"}
    assert list(tiny.containers()) == [NAME]


def test_a_build_that_fails_shows_its_end_and_leaves_what_runs_alone(
    tiny: TinyService, before: str
) -> None:
    build = {"name": NAME, "arguments": {"BASE_IMAGE": "spark-speech.invalid/none:1"}}
    refused(tiny.run(managed_service_build=build), "spark-speech.invalid/none")
    assert tiny.inspected()["Id"] == before
    assert tiny.answer() == {"status": "ready"}


def killed_while_it_waits(tiny: TinyService) -> None:
    """A run that is killed when its container, which never gets ready, has replaced another."""
    tiny.says(LOADING)
    with tiny.playbook.start("service", **tiny.variables()) as run:
        wait_for(lambda: len(tiny.containers()) == 2 and tiny.runs(), "the new container")
        run.kill()
        run.communicate(timeout=WITHIN_S)


def test_what_a_killed_run_left_is_undone_by_the_next_and_can_be_rolled_back(
    tiny: TinyService, before: str
) -> None:
    killed_while_it_waits(tiny)
    failed = tiny.run(managed_service_start_timeout_s=6)
    refused(failed, 'status is "loading"', "the container that it was before")
    assert tiny.inspected()["Id"] == before
    assert tiny.answer() == {"status": "ready"}
    assert list(tiny.containers()) == [NAME]
    killed_while_it_waits(tiny)
    back = tiny.run(managed_service_rollback=True)
    assert back.rc == 0, back.out
    assert tiny.answer() == {"status": "ready"}
    assert list(tiny.containers()) == [NAME]


def test_a_container_that_ends_at_once_is_not_waited_for_and_its_log_is_shown(
    tiny: TinyService,
) -> None:
    run = {"port": 8000, "command": ["sh", "-c", "echo no weights here; sleep 1; exit 3"]}
    failed = tiny.run(managed_service_run=run, managed_service_start_timeout_s=3000)
    refused(failed, "no weights here")
    assert tiny.containers() == {}


def test_a_container_that_is_killed_while_it_is_waited_for_is_told(tiny: TinyService) -> None:
    tiny.says(LOADING)
    killed = threading.Event()

    def kill() -> None:
        wait_for(lambda: NAME in tiny.containers(), "the container")
        tiny.spark.docker("kill", NAME)
        killed.set()

    thread = threading.Thread(target=kill)
    thread.start()
    failed = tiny.run(managed_service_start_timeout_s=3000)
    thread.join()
    assert killed.is_set()
    refused(failed, "the new one was removed")


def test_a_disk_that_fills_up_during_a_build_is_told(tiny: TinyService) -> None:
    dockerfile = tiny.folder / "images" / NAME / "Dockerfile"
    kept = dockerfile.read_text()
    with tiny.fleet.another_spark("small", tiny_disk=True) as small:
        small_tiny = TinyService(tiny.fleet, tiny.playbook, small, tiny.folder)
        inventory = tiny.fleet.inventory({"whisperx": [small]})
        try:
            dockerfile.write_text(kept + "RUN dd if=/dev/urandom of=/big bs=1M count=100\n")
            failed = small_tiny.run("-i", str(inventory))
        finally:
            dockerfile.write_text(kept)
        refused(failed, "No space left on device", "disk")
        assert small_tiny.containers() == {}
        assert small_tiny.images() == set()


@contextmanager
def held_build(tiny: TinyService) -> Iterator[tuple[dict[str, Any], Gate]]:
    """Variables of a service whose image is not built before the gate is opened."""
    with closed_gate(tiny.fleet.gateway) as gate:
        arguments = {"BASE_IMAGE": tiny.fleet.images.tiny, "GATE": gate.url}
        build = {"name": NAME, "network": "host", "arguments": arguments}
        yield tiny.variables(managed_service_build=build), gate


def is_building(tiny: TinyService) -> bool:
    """Whether the host builds an image."""
    return "docker build" in tiny.spark.ssh("pgrep -fa '[d]ocker build' || true").stdout


def test_a_second_run_is_refused_with_who_works_there_and_the_first_one_goes_on(
    tiny: TinyService,
) -> None:
    with (
        held_build(tiny) as (variables, gate),
        tiny.playbook.start("service", **variables, speech_by="the pipeline") as first,
    ):
        wait_for(lambda: is_building(tiny), "the build")
        refused(tiny.run(), "the pipeline", "speech_break_lock")
        gate.open()
        out, _ = first.communicate(timeout=WITHIN_S)
    assert first.returncode == 0, out
    assert tiny.answer() == {"status": "ready"}


def test_a_restart_of_another_service_goes_beside_a_build(tiny: TinyService) -> None:
    image = tiny.fleet.images.tiny
    tiny.spark.docker("run", "-d", "--name", "other", image, "sleep", "600")
    try:
        with (
            held_build(tiny) as (variables, gate),
            tiny.playbook.start("service", **variables) as first,
        ):
            wait_for(lambda: is_building(tiny), "the build")
            restarted = tiny.run(
                managed_service_name="other",
                managed_service_container="other",
                managed_service_state="stopped",
            )
            assert restarted.rc == 0, restarted.out
            assert is_building(tiny)
            gate.open()
            first.communicate(timeout=WITHIN_S)
    finally:
        tiny.spark.docker("rm", "--force", "other")


def ended_while_it_builds(tiny: TinyService, how: signal.Signals, **variables: Any) -> None:  # noqa: ANN401
    """A run that gets a signal while its build, which goes on, waits."""
    with tiny.playbook.start("service", **variables) as run:
        wait_for(lambda: is_building(tiny), "the build")
        run.send_signal(how)
        run.communicate(timeout=WITHIN_S)
    assert is_building(tiny)


def test_a_run_that_is_killed_during_its_build_is_taken_up_by_the_next(tiny: TinyService) -> None:
    with held_build(tiny) as (variables, gate):
        ended_while_it_builds(tiny, signal.SIGKILL, **variables)
        with tiny.playbook.start("service", **variables, speech_by="the second") as second:
            lock = "cat ~/.spark-speech/lock.json || true"
            wait_for(lambda: "the second" in tiny.spark.ssh(lock).stdout, "the second run")
            assert is_building(tiny)
            gate.open()
            out, _ = second.communicate(timeout=WITHIN_S)
        assert second.returncode == 0, out
        assert tiny.answer() == {"status": "ready"}
        log = tiny.spark.ssh("cat ~/.spark-speech/tiny/build/*.log").stdout
        assert log.count("RUN [ -z") == 1  # it was the same build


def test_what_is_taken_away_does_not_come_back_by_a_build_that_was_left(tiny: TinyService) -> None:
    with held_build(tiny) as (variables, _gate):
        ended_while_it_builds(tiny, signal.SIGTERM, **variables)
        taken: dict[str, Any] = {"managed_service_state": "absent", "managed_service_purge": True}
        gone = tiny.playbook("service", **variables, **taken)
        assert gone.rc == 0, gone.out
        assert tiny.left() == ""


def test_a_build_that_takes_too_long_is_ended_and_says_so(tiny: TinyService) -> None:
    with held_build(tiny) as (variables, _gate):
        failed = tiny.playbook("service", **variables, managed_service_build_timeout_s=5)
        refused(failed, "took longer than 5 s and was ended", "RUN [ -z")
        wait_for(lambda: not is_building(tiny), "the end of the build")
    assert tiny.images() == set()
    assert "lock" not in tiny.left()


def test_somebody_elses_container_of_that_name_is_left_alone(tiny: TinyService) -> None:
    tiny.spark.docker("run", "-d", "--name", NAME, tiny.fleet.images.tiny, "sleep", "600")
    before = tiny.inspected()["Id"]
    for state in ("present", "absent"):
        refused(tiny.run(managed_service_state=state), "was not made for tiny", "speech_adopt=true")
        assert tiny.inspected()["Id"] == before
    assert tiny.images() == set()


NEEDS_ITS_TOKEN = """
grep -q '^hf_' /run/speech/hf_token || { echo that is no token; exit 3; }
exec httpd -f -p 8000 -h /www
"""


def test_secrets_are_in_no_output_and_no_file_that_others_can_read(
    tiny: TinyService, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("hf_ThisIsTheSecret\n")
    given: dict[str, Any] = {
        "managed_service_secrets": {"hf_token": str(secret)},
        "managed_service_run": {"port": 8000, "command": ["sh", "-c", NEEDS_ITS_TOKEN]},
    }
    done = tiny.run("--diff", "-vvv", **given)
    assert done.rc == 0, done.out
    first = tiny.inspected()["Id"]
    key = tiny.spark.ssh("cat ~/.spark-speech/tiny/secrets/key").stdout
    assert tiny.spark.docker("exec", NAME, "cat", "/run/speech/hf_token") == "hf_ThisIsTheSecret\n"
    for place in (done.out, json.dumps(tiny.inspected()), _history(tiny)):
        assert "hf_ThisIsTheSecret" not in place
        assert key not in place
    modes = tiny.spark.ssh("find ~/.spark-speech -type f -perm /077").stdout
    assert "secrets" not in modes
    # A program reads it when it starts, so that another one makes another container.
    secret.write_text("hf_AnotherSecret\n")
    assert tiny.run(**given).rc == 0
    second = tiny.inspected()["Id"]
    assert second != first
    # And the one that runs keeps its own until then.
    secret.write_text("nonsense\n")
    refused(tiny.run(**given), "that is no token", "is the container that it was before")
    assert tiny.inspected()["Id"] == second
    assert tiny.answer() == {"status": "ready"}
    assert tiny.spark.docker("exec", NAME, "cat", "/run/speech/hf_token") == "hf_AnotherSecret\n"
    assert tiny.spark.ssh("ls ~/.spark-speech/tiny/secrets/*/hf_token").stdout.count("\n") == 1


def _history(tiny: TinyService) -> str:
    return tiny.spark.docker("history", "--no-trunc", tiny.containers()[NAME])

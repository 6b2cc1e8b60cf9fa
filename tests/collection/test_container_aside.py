"""Containers set aside and brought back, on a real engine, from every state a run can leave."""

import io
import json
import socket
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.collection.conftest import RunDocker, RunModule

Aside = Callable[..., dict[str, Any]]


def tar_of(name: str) -> bytes:
    """A tar with one empty file."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    return archive.getvalue()


class Fleet:
    """The two containers of one name, NAME and NAME-previous."""

    def __init__(self, docker: RunDocker, image: str) -> None:
        self.name = f"speech-aside-{uuid.uuid4().hex[:8]}"
        self.previous = f"{self.name}-previous"
        self._docker = docker
        self._image = image

    def make(self, name: str, how: str = "running", *options: str) -> str:
        """Make a container that is `running`, `stopped` or, for None, not there; give its id."""
        if how == "absent":
            return ""
        # A first process without a handler takes no SIGTERM, and each stop would wait.
        options = ("--stop-signal", "KILL", *(options or ("--network", "none")))
        made = self._docker("create", "--name", name, *options, self._image, "sleep", "600")
        if how == "running":
            self._docker("start", name)
        return made

    def look(self) -> dict[str, tuple[str, str]]:
        """Tell for both names whose container has it (its id) and how that is."""
        names = ("ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.ID}} {{.State}}")
        rows = [row.split() for row in self._docker(*names).splitlines()]
        found = {name: (made, state) for name, made, state in rows}
        return {name: found.get(name, ("", "absent")) for name in (self.name, self.previous)}

    def publishing(self) -> tuple[str, ...]:
        """Give options that publish a free port, on a network of its own."""
        self._docker("network", "create", self.name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = f"127.0.0.1:{free.getsockname()[1]}"
        return ("--network", self.name, "--publish", f"{port}:80")

    def remove(self) -> None:
        for name, (_, state) in self.look().items():
            if state != "absent":
                self._docker("rm", "--force", name)
        if self._docker("network", "ls", "--quiet", "--filter", f"name={self.name}"):
            self._docker("network", "rm", self.name)


@pytest.fixture
def fleet(docker: RunDocker, base_image: str) -> Iterator[Fleet]:
    fleet = Fleet(docker, base_image)
    yield fleet
    fleet.remove()


@pytest.fixture
def aside(run_module: RunModule, fleet: Fleet, tmp_path: Path) -> Aside:
    def aside(state: str, **options: object) -> dict[str, Any]:
        options = {"container": fleet.name, "state_dir": str(tmp_path), **options}
        return run_module("container_aside", state=state, **options)

    return aside


def record(folder: Path, fleet: Fleet) -> dict[str, Any] | None:
    path = folder / "aside" / f"{fleet.name}.json"
    return json.loads(path.read_text()) if path.exists() else None


# How NAME and NAME-previous are, the state that is asked for, and which of the two is where then.
# Nothing is written down, as after the state folder was lost. Stopped ones were never started.
Case = tuple[str, str, str, "str | None", "str | None"]
CASES: list[Case] = [
    ("absent", "absent", "aside", None, None),
    ("absent", "stopped", "aside", None, "old created"),
    ("absent", "running", "aside", None, "old exited"),
    ("stopped", "absent", "aside", None, "new created"),
    ("stopped", "stopped", "aside", None, "new created"),
    ("running", "absent", "aside", None, "new exited"),
    ("running", "stopped", "aside", None, "new exited"),
    ("running", "running", "aside", None, "new exited"),
    ("absent", "absent", "back", None, None),
    ("absent", "stopped", "back", "old running", None),
    ("absent", "running", "back", "old running", None),
    ("stopped", "absent", "back", "new created", None),
    ("stopped", "stopped", "back", "old running", None),
    ("running", "absent", "back", "new running", None),
    ("running", "stopped", "back", "old running", None),
    ("running", "running", "back", "old running", None),
    ("absent", "absent", "gone", None, None),
    ("absent", "stopped", "gone", None, None),
    ("stopped", "absent", "gone", "new created", None),
    ("running", "stopped", "gone", "new running", None),
    ("running", "running", "gone", "new running", None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case[:3]))
def test_every_state_leads_to_the_one_that_is_asked_for_and_check_mode_foretells_it(
    fleet: Fleet, aside: Aside, case: Case
) -> None:
    now, previous, state, now_then, previous_then = case
    ids = {
        "new": fleet.make(fleet.name, now),
        "old": fleet.make(fleet.previous, previous),
    }
    before = fleet.look()
    foretold = aside(state, check=True)
    assert fleet.look() == before
    done = aside(state)
    again = aside(state)

    found = fleet.look()
    for name, then in ((fleet.name, now_then), (fleet.previous, previous_then)):
        whose, how = then.split() if then else ("", "absent")
        assert found[name] == (ids.get(whose, ""), how)
    assert done["changed"] == foretold["changed"] == (found != before)
    assert not again["changed"]
    assert done["diff"] == foretold["diff"]
    assert done["diff"]["before"] == {name: how for name, (_, how) in before.items()}
    assert done["diff"]["after"] == {name: how for name, (_, how) in found.items()}
    assert done["containers"] == done["diff"]["after"]


def test_what_ran_runs_again_with_its_ports_and_restart_policy(
    fleet: Fleet, aside: Aside, docker: RunDocker, tmp_path: Path
) -> None:
    options = (*fleet.publishing(), "--restart", "always")
    old = fleet.make(fleet.name, "running", *options)

    assert aside("aside")["changed"]
    assert record(tmp_path, fleet) == {"id": old, "ran": True}
    fleet.make(fleet.name, "running", *options)  # name and port are free
    back = aside("back")

    assert back["said"] == f"{fleet.name} is the container that it was before, and was started."
    assert fleet.look()[fleet.name] == (old, "running")
    assert docker("inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", old) == "always"
    assert docker("port", old, "80") + ":80" in options
    assert list(tmp_path.iterdir()) == [], "nothing is left on the host"


def test_what_was_stopped_stays_stopped(fleet: Fleet, aside: Aside) -> None:
    old = fleet.make(fleet.name, "stopped")
    aside("aside")
    fleet.make(fleet.name, "running")
    aside("back")
    assert fleet.look()[fleet.name] == (old, "created")


def test_where_there_was_nothing_a_first_one_that_failed_is_removed(
    fleet: Fleet, aside: Aside
) -> None:
    assert not aside("aside")["changed"]
    fleet.make(fleet.name, "running")
    back = aside("back")
    assert back["changed"]
    assert "the new one was removed" in back["said"]
    assert fleet.look()[fleet.name] == ("", "absent")
    fleet.make(fleet.name, "running")
    assert not aside("back")["changed"], "a container of later is none of its business"


def test_a_run_that_was_cut_off_does_not_cost_the_container_that_worked(
    fleet: Fleet, aside: Aside
) -> None:
    old = fleet.make(fleet.name, "running")
    aside("aside")
    fleet.make(fleet.name, "running")  # and there the first run ends; the second begins:
    assert aside("aside")["changed"]
    assert fleet.look() == {fleet.name: ("", "absent"), fleet.previous: (old, "exited")}
    fleet.make(fleet.name, "running")
    aside("back")
    assert fleet.look() == {fleet.name: (old, "running"), fleet.previous: ("", "absent")}


def test_a_finished_run_makes_what_it_set_aside_out_of_date(fleet: Fleet, aside: Aside) -> None:
    fleet.make(fleet.name, "running")
    aside("aside")
    second = fleet.make(fleet.name, "running")
    aside("gone")
    aside("aside")
    fleet.make(fleet.name, "running")
    aside("back")
    assert fleet.look() == {fleet.name: (second, "running"), fleet.previous: ("", "absent")}


@pytest.mark.parametrize("then", ["back", "aside"])
def test_one_that_was_stopped_and_not_yet_renamed_is_known_to_have_run(
    fleet: Fleet, aside: Aside, docker: RunDocker, tmp_path: Path, then: str
) -> None:
    old = fleet.make(fleet.name, "running")
    aside("aside")
    docker("rename", fleet.previous, fleet.name)  # as if the run had ended before its last step
    if then == "aside":
        aside("aside")
        assert record(tmp_path, fleet) == {"id": old, "ran": True}
    aside("back")
    assert fleet.look() == {fleet.name: (old, "running"), fleet.previous: ("", "absent")}


def test_one_that_was_renamed_back_and_not_yet_started_is_started(
    fleet: Fleet, aside: Aside, docker: RunDocker
) -> None:
    fleet.make(fleet.name, "running")
    aside("aside")
    docker("rename", fleet.previous, fleet.name)
    assert aside("back")["changed"]
    assert fleet.look()[fleet.name][1] == "running"
    assert not aside("back")["changed"]


def test_one_that_restarts_again_and_again_is_stopped(
    fleet: Fleet, aside: Aside, docker: RunDocker, base_image: str
) -> None:
    options = ("--network", "none", "--restart", "always")
    docker("run", "--detach", "--name", fleet.name, *options, base_image, "false")
    aside("aside")
    assert fleet.look()[fleet.previous][1] == "exited"


def test_one_that_is_paused_is_set_aside_too(fleet: Fleet, aside: Aside, docker: RunDocker) -> None:
    old = fleet.make(fleet.name, "running")
    docker("pause", old)
    aside("aside")
    aside("back")
    assert fleet.look()[fleet.name] == (old, "running")


def test_a_start_that_fails_says_why_and_can_be_repeated(fleet: Fleet, aside: Aside) -> None:
    options = fleet.publishing()
    fleet.make(fleet.previous, "stopped", *options)
    address, port, _ = options[-1].split(":")
    with socket.create_server((address, int(port))):
        failed = aside("back")
        assert failed["failed"]
        assert "address already in use" in failed["msg"]
    assert aside("aside")["changed"]
    assert aside("back")["changed"]
    assert fleet.look()[fleet.name][1] == "running"


def test_the_anonymous_volumes_of_what_is_removed_go_with_it(
    fleet: Fleet, aside: Aside, docker: RunDocker
) -> None:
    fleet.make(fleet.previous, "stopped", "--network", "none", "--volume", "/data")
    volume = docker("inspect", "--format", "{{(index .Mounts 0).Name}}", fleet.previous)
    assert volume in docker("volume", "ls", "--quiet").split()
    aside("gone")
    assert volume not in docker("volume", "ls", "--quiet").split()


def test_one_that_docker_would_delete_is_refused(fleet: Fleet, aside: Aside) -> None:
    made = fleet.make(fleet.name, "running", "--network", "none", "--rm")
    refused = aside("aside")
    assert "made with --rm" in refused["msg"]
    assert f"docker stop {fleet.name}" in refused["msg"]
    assert fleet.look()[fleet.name] == (made, "running")


@pytest.mark.parametrize("content", ["", "[]", '{"id": 1', '{"ran": true}'])
def test_a_record_that_cannot_be_read_counts_as_none(
    fleet: Fleet, aside: Aside, tmp_path: Path, content: str
) -> None:
    old = fleet.make(fleet.previous, "stopped")
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / f"{fleet.name}.json").write_text(content)
    assert aside("back")["changed"]
    assert fleet.look()[fleet.name] == (old, "running")


@pytest.mark.parametrize("name", ["--force", "a" * 120], ids=["option", "too long with -previous"])
def test_a_name_that_docker_would_not_take_is_refused(run_module: RunModule, name: str) -> None:
    refused = run_module("container_aside", container=name, state="aside")
    assert "not the name of a container" in refused["msg"]


def test_a_time_to_stop_that_makes_no_sense_is_refused(run_module: RunModule) -> None:
    refused = run_module("container_aside", container="a", state="aside", stop_timeout_s=-1)
    assert "stop_timeout_s" in refused["msg"]


@pytest.mark.parametrize("state", ["aside", "absent"])
def test_somebody_elses_container_is_refused_unless_it_is_adopted(
    fleet: Fleet, aside: Aside, state: str
) -> None:
    fleet.make(fleet.name)
    before = fleet.look()
    refused = aside(state, service="tiny")
    assert f"{fleet.name} (of " in refused["msg"]
    assert "speech_adopt=true" in refused["msg"]
    assert fleet.look() == before
    adopted = aside(state, service="tiny", adopt=True)
    assert adopted["changed"]
    assert fleet.look()[fleet.name][1] == "absent"
    back = aside("back", service="tiny")
    assert back["changed"] is (state == "aside")
    assert fleet.look()[fleet.name] == (before[fleet.name] if state == "aside" else ("", "absent"))


def test_somebody_elses_container_in_the_place_of_the_previous_one_is_kept(
    fleet: Fleet, aside: Aside
) -> None:
    theirs = fleet.make(fleet.previous)
    fleet.make(fleet.name, "running", "--label", "spark.speech.service=tiny")
    before = fleet.look()
    assert "rename it" in aside("aside", service="tiny")["msg"]
    for state in ("gone", "back"):
        assert not aside(state, service="tiny")["changed"]
        assert fleet.look() == before
    aside("absent", service="tiny")
    assert fleet.look() == {fleet.name: ("", "absent"), fleet.previous: (theirs, "running")}


def test_a_container_that_came_back_and_does_not_stay_up_is_told(
    fleet: Fleet, aside: Aside, docker: RunDocker, base_image: str
) -> None:
    ends = ("--restart", "always", base_image, "sh", "-c", "[ -e /ended ] && exit 3; sleep 600")
    docker("run", "--detach", "--name", fleet.name, "--stop-signal", "KILL", *ends)
    aside("aside")
    docker("cp", "-", f"{fleet.previous}:/", stdin=tar_of("ended"))
    said = aside("back")["said"]
    assert "was started. It does not stay up: `docker logs" in said

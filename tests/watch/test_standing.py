"""What a container's or a process's state means, and how its host is asked."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy_app.config import load_config
from proxy_app.jobs.desk import Room
from proxy_app.watch.standing import At, Hosts, Standing, container, process
from tests.jobs.house import settings
from tests.watch.world import SERVICE

INVENTORY = """\
all:
  hosts:
    spark1:
      ansible_connection: local
"""
DOCKER = """\
#!/bin/sh
echo "$@" >> {folder}/asked
[ "$1" != events ] || exec cat {folder}/events
cat {folder}/answer
cat {folder}/error >&2
exit $(cat {folder}/status)
"""


def inspected(status: str, code: int = 0, policy: str = "unless-stopped", **state: Any) -> bytes:  # noqa: ANN401
    """As Docker 20 to 29 tell it, in short."""
    return json.dumps(
        {
            "Id": "4f5e",
            "RestartCount": 2,
            "HostConfig": {"RestartPolicy": {"Name": policy, "MaximumRetryCount": 0}},
            "State": {
                "Status": status, "ExitCode": code, "OOMKilled": False,
                "StartedAt": "2026-11-23T04:00:00.1Z", **state,
            },
        }
    ).encode()  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "at"),
    [
        (inspected("running"), At.RUNNING),
        (inspected("restarting", 1), At.RESTARTING),
        (inspected("paused"), At.STOPPED),
        (inspected("created"), At.STOPPED),
        (inspected("exited", 137), At.STOPPED),
        (inspected("exited", 1), At.STOPPED),  # its policy would have started it again
        (inspected("exited", 0, "on-failure"), At.STOPPED),
        (inspected("exited", 3, "on-failure"), At.CRASHED),  # as often as it was allowed to
        (inspected("exited", 143, "no"), At.STOPPED),
        (inspected("exited", 139, "no"), At.CRASHED),
        (inspected("exited", 137, "no", OOMKilled=True), At.CRASHED),
        (inspected("exited", 128, Error="could not select device driver"), At.CRASHED),
        (inspected("exited", 137, Error="its removal failed"), At.STOPPED),
        (b"[]", At.UNKNOWN),
        (b"what?", At.UNKNOWN),
    ],
)
def test_a_containers_state_tells_who_ended_it(answer: bytes, at: At) -> None:
    found = container(answer)
    assert found.at is at
    if at is not At.UNKNOWN:
        assert (found.life, found.container, found.restarts) == (
            "2026-11-23T04:00:00.1Z", "4f5e", 2,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "at"),
    [
        ("RUNNING", At.RUNNING), ("STARTING", At.RUNNING), ("BACKOFF", At.RESTARTING),
        ("STOPPING", At.STOPPED), ("STOPPED", At.STOPPED), ("EXITED", At.CRASHED),
        ("FATAL", At.CRASHED),
    ],
)  # fmt: skip
def test_a_processes_state_is_its_supervisors_word(state: str, at: At) -> None:
    found = process({"statename": state, "start": 1700000000, "supervisor": 42})
    assert (found.at, found.life, found.container) == (at, "1700000000", "42")


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker command that says what a test wants; the machine that builds this has no daemon."""
    folder = tmp_path / "docker"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(DOCKER.format(folder=folder))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    answer(folder)
    return folder


def answer(
    folder: Path, text: bytes = b"", *, events: str = "", error: str = "", status: int = 0
) -> None:
    (folder / "answer").write_bytes(text)
    (folder / "events").write_text(events)
    (folder / "error").write_text(error)
    (folder / "status").write_text(str(status))


@pytest.fixture
def hosts(docker: Path, tmp_path: Path) -> Iterator[Hosts]:
    """This machine, as a host of the inventory with that docker command."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(INVENTORY)
    (tmp_path / "state").mkdir()
    room = Room(load_config({**settings(tmp_path), "SPEECH_INVENTORY": str(inventory)}))
    yield Hosts(room)
    room.close()


def test_a_host_of_the_inventory_is_asked_for_the_container(hosts: Hosts, docker: Path) -> None:
    answer(docker, inspected("running"))
    assert hosts.standing(SERVICE).at is At.RUNNING
    asked = (docker / "asked").read_text()
    assert asked == "container inspect --format {{json .}} whisperx-asr\n"
    answer(docker, error="Error: No such container: whisperx-asr", status=1)
    assert hosts.standing(SERVICE).at is At.ABSENT
    answer(docker, error="Cannot connect to the Docker daemon", status=1)
    assert hosts.standing(SERVICE) == Standing(
        At.UNKNOWN,
        "spark1 cannot tell of its containers: Cannot connect to the Docker daemon",
    )


@pytest.mark.parametrize(
    ("events", "at"),
    [("kill\n", At.CRASHED), ("kill\nkill\nstop\n", At.STOPPED), ("", At.STOPPED)],
)
def test_a_container_that_was_killed_is_told_from_one_that_was_stopped(
    hosts: Hosts, docker: Path, events: str, at: At
) -> None:
    answer(docker, inspected("exited", 137), events=events)
    assert hosts.standing(SERVICE).at is at
    asked = (docker / "asked").read_text().splitlines()[-1]
    assert asked.endswith("--since 2026-11-23T04:00:00.1Z --filter container=4f5e")

"""What a container's or a process's state means, and how its host is asked."""

import json
import os
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


def answer(folder: Path, text: bytes = b"", *, error: str = "", status: int = 0) -> None:
    (folder / "answer").write_bytes(text)
    (folder / "error").write_text(error)
    (folder / "status").write_text(str(status))


def test_a_host_of_the_inventory_is_asked_for_the_container(docker: Path, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(INVENTORY)
    (tmp_path / "state").mkdir()
    room = Room(load_config({**settings(tmp_path), "SPEECH_INVENTORY": str(inventory)}))
    hosts = Hosts(room)
    try:
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
    finally:
        room.close()

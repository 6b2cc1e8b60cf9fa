"""How hosts are: this machine without SSH, another one over a connection that stays open."""

import ast
import contextlib
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, update

from proxy_app.hosts import line, metrics, on_host
from proxy_app.hosts.line import Line
from proxy_app.hosts.looks import parse
from proxy_app.hosts.metrics import Collector
from proxy_app.hosts.own import Host
from proxy_app.hosts.ssh import SshError
from proxy_app.jobs.processes import children
from proxy_app.jobs.project import Login
from proxy_app.store import HostState
from tests.fleet.spark import HOST_KEY
from tests.hosts.conftest import empty_house
from tests.hosts.sshd import STANDINS, Sshd
from tests.jobs.house import ROOT, House, eventually

LOCAL = {"all": {"hosts": {"this": {"ansible_connection": "local"}}}}


@pytest.fixture
def collector(house: House) -> Iterator[Collector]:
    made = Collector(house.room)
    yield made
    made.close()


def state(house: House, name: str = "spark1") -> HostState | None:
    with house.room.store.session() as session:
        return session.get(HostState, name)


def known(house: House, name: str = "spark1") -> HostState:
    row = state(house, name)
    assert row
    return row


def add(house: House, sshd: Sshd, address: str = "") -> None:
    key = " ".join(sshd.root(f"ssh-keygen -yf /{HOST_KEY}").split()[:2])
    sshd.allow(house.room.own_hosts.public_key().text)
    assert house.room.own_hosts.add(Host("spark1", address or sshd.address, 22, "spark", (), key))


def test_this_machine_is_looked_at_without_ssh(tmp_path: Path) -> None:
    house = empty_house(tmp_path / "house", LOCAL)
    collector = Collector(house.room)
    others = set(children(os.getpid()))
    collector.run_once()
    first = known(house, "this")
    assert (first.state, first.detail, first.history) == ("reachable", "", [])
    assert first.look
    assert first.look["cores"] == os.cpu_count()
    assert first.look["cpu"] is None  # nobody knows yet how busy it is
    assert 0 < first.look["memory_available_bytes"] < first.look["memory_total_bytes"]
    (process,) = set(children(os.getpid())) - others
    collector.run_once()
    second = known(house, "this")
    assert second.look
    assert 0 <= second.look["cpu"] <= 1
    assert [set(point) for point in second.history] == [{"at", "cpu", "memory", "gpu"}]
    collector.close()
    assert not Path(f"/proc/{process}").exists()
    house.room.close()


def test_a_look_is_written_down_also_when_another_process_writes(tmp_path: Path) -> None:
    """SQLite refuses a write that depends on what has changed since it was read."""
    house = empty_house(tmp_path / "house", LOCAL)
    collector = Collector(house.room)
    engine = house.room.store.engine

    def write(_conn: object, _cursor: object, statement: str, *_more: object) -> None:
        if not (statement.startswith("SELECT") and "host_states" in statement):
            return
        other = sqlite3.connect(str(engine.url.database), timeout=0)
        with contextlib.closing(other), contextlib.suppress(sqlite3.OperationalError):
            other.execute("UPDATE host_states SET detail = detail || 'x'")
            other.commit()

    collector.run_once()
    before = known(house, "this")
    event.listen(engine, "after_cursor_execute", write)
    collector._watched["this"].due = 0
    collector.run_once()
    event.remove(engine, "after_cursor_execute", write)
    assert known(house, "this").at > before.at
    collector.close()
    house.room.close()


def test_a_host_is_looked_at_over_one_connection(
    house: House, collector: Collector, sshd: Sshd
) -> None:
    add(house, sshd)
    others = set(sshd.sessions())  # Ansible's connections stay open for a minute
    collector.run_once()
    row = known(house)
    assert (row.state, row.detail) == ("reachable", "")
    assert row.look
    assert row.look["gpus"][0]["name"] == "NVIDIA GB10"
    assert "Docker daemon" in row.look["docker_error"]
    (session,) = set(sshd.sessions()) - others
    collector.run_once()
    assert set(sshd.sessions()) - others == {session}
    assert known(house).since == row.since
    assert len(known(house).history) == 1
    collector.close()
    assert eventually(lambda: session not in sshd.sessions())


def test_a_host_whose_connection_is_cut_is_found_again(
    house: House, collector: Collector, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(house, sshd)
    collector.run_once()
    sshd.root("pkill --uid spark sshd")
    assert eventually(lambda: not sshd.sessions())
    collector.run_once()
    lost = known(house)
    assert (lost.state, lost.look) == ("unreachable", None)
    assert lost.detail
    collector.run_once()
    assert known(house).at == lost.at  # not tried again before its time
    monkeypatch.setattr(metrics, "_LONGEST_PAUSE_S", 0)
    collector._watched["spark1"].due = 0
    collector.run_once()
    assert known(house).state == "reachable"


def test_a_host_that_hangs_is_given_up_and_keeps_no_other_one_waiting(
    tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = empty_house(tmp_path / "house", LOCAL)
    collector = Collector(house.room)
    add(house, sshd)
    collector.run_once()
    monkeypatch.setattr(metrics, "ANSWERS_WITHIN_S", 2.0)
    with sshd.paused():
        before = known(house, "this").at
        collector._begin()
        assert eventually(lambda: known(house, "this").at > before)
        assert known(house).state == "reachable"
        assert eventually(lambda: known(house).state == "unreachable")
        assert known(house).detail == f"{sshd.address} does not answer."
    collector.close()
    house.room.close()


def test_a_host_with_another_key_is_not_talked_to(
    house: House, collector: Collector, sshd: Sshd
) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHdqDVa5x1U2nIGSgVvPIQ3FJlJmUHSnqVvqyXwHZGw7"
    sshd.allow(house.room.own_hosts.public_key().text)
    house.room.own_hosts.add(Host("spark1", sshd.address, 22, "spark", (), key))
    collector.run_once()
    row = known(house)
    assert row.state == "unreachable"
    assert "shows another host key" in row.detail


def test_a_host_that_is_taken_away_is_hung_up_and_forgotten(
    house: House, collector: Collector, sshd: Sshd
) -> None:
    add(house, sshd)
    collector.run_once()
    house.room.own_hosts.remove("spark1")
    collector.run_once()
    assert state(house) is None
    assert eventually(lambda: not sshd.sessions())


def test_a_host_of_the_operators_inventory_is_reached_as_the_inventory_says(
    tmp_path: Path, sshd: Sshd
) -> None:
    folder = tmp_path / "operator"
    folder.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", folder / "key"], check=True)
    sshd.allow((folder / "key.pub").read_text().strip())
    options = ["-F", "none", f'-oUserKnownHostsFile="{folder}/known"']
    scan = ["ssh-keyscan", "-t", "ed25519", sshd.address]
    (folder / "known").write_bytes(subprocess.run(scan, capture_output=True, check=True).stdout)
    host = {
        "ansible_host": sshd.address, "ansible_user": "spark",
        "ansible_ssh_private_key_file": str(folder / "key"),
        "ansible_ssh_common_args": shlex.join(options),
    }  # fmt: skip
    templated = {**host, "ansible_user": "{{ lookup('pipe', 'id -un') }}"}
    house = empty_house(
        tmp_path / "house", {"all": {"hosts": {"theirs": host, "templated": templated}}}
    )
    collector = Collector(house.room)
    collector.run_once()
    assert known(house, "theirs").state == "reachable"
    assert "templates" in known(house, "templated").detail
    collector.close()
    house.room.close()


def test_an_inventory_or_a_database_that_is_away_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house = empty_house(tmp_path / "house", LOCAL)
    inventory = Path(house.environ["SPEECH_INVENTORY"])
    text = inventory.read_text()
    inventory.unlink()
    collector = Collector(house.room)
    for _ in range(3):
        collector.run_once()
    assert [record.message for record in caplog.records if "looked at" in record.message] == [
        f"hosts cannot be looked at: There is no inventory at {inventory} (SPEECH_INVENTORY)."
    ]
    inventory.write_text(text)
    collector.run_once()
    assert known(house, "this").state == "reachable"
    collector.close()
    house.room.close()


def test_it_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    house = empty_house(tmp_path / "house", LOCAL, SPEECH_HOSTS_EVERY_S="1")
    stop = threading.Event()
    collector = Collector(house.room)
    thread = threading.Thread(target=collector.run, args=(stop,))
    thread.start()

    def was_looked_at_twice() -> bool:
        row = state(house, "this")
        return row is not None and bool(row.look) and row.history != []

    assert eventually(was_looked_at_twice)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    house.room.close()


def test_what_was_seen_is_there_for_the_next_collector(
    database_url: str | None, tmp_path: Path
) -> None:
    more = {"SPEECH_DATABASE_URL": database_url} if database_url else {}
    house = empty_house(tmp_path / "house", LOCAL, **more)
    for _ in range(2):
        collector = Collector(house.room)
        collector.run_once()
        collector.run_once()
        collector.close()
        with house.room.store.session() as session:
            # As if a minute had gone by.
            row = session.get(HostState, "this")
            assert row
            older = [{**point, "at": point["at"] - 60} for point in row.history]
            session.execute(update(HostState).values(history=older))
    assert len(known(house, "this").history) == 2
    house.room.close()


def local_line(folder: Path, **environ: str) -> Line:
    """A line to this machine, whose only programs are those in a folder."""
    return Line(Login("localhost", connection="local"), {"PATH": str(folder), **environ})


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def facts(connection: Line) -> dict[str, Any]:
    return parse(connection.ask(60)).facts


def test_a_driver_that_hangs_is_told_and_not_asked_ever_more_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel does not let it be killed; once it has ended it is asked again."""
    hangs, asked = tmp_path / "hangs", tmp_path / "asked"
    hangs.touch()
    text = (STANDINS / "nvidia_smi.sh").read_text()
    program(tmp_path, "nvidia-smi", f"PATH=/bin:/usr/bin; echo asked >> {asked}\n{text}")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NVIDIA_SMI_HANGS", str(hangs))
    monkeypatch.setattr(on_host, "ANSWERS_WITHIN_S", 0.5)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda _self: None)
    for _ in range(3):
        assert on_host.run(on_host.NVIDIA) == ("", "nvidia-smi does not answer")
    assert asked.read_text() == "asked\n"
    hangs.unlink()
    on_host._hanging["nvidia-smi"].wait()
    monkeypatch.setattr(on_host, "ANSWERS_WITHIN_S", 60)
    out, failed = on_host.run(on_host.NVIDIA)
    assert (out.split(",")[0], failed) == ("NVIDIA GB10", "")


def test_containers_are_told_as_docker_tells_them(tmp_path: Path) -> None:
    told = {"Names": "asr", "Image": "x:1", "State": "running", "Status": "Up 2 hours"}
    program(tmp_path, "docker", f"echo '{json.dumps(told)}'")
    connection = local_line(tmp_path)
    try:
        found = facts(connection)
    finally:
        connection.close()
    assert found["containers"] == [
        {"name": "asr", "image": "x:1", "state": "running", "status": "Up 2 hours"}
    ]
    assert found["docker_error"] == ""


def test_what_ends_in_the_middle_of_an_answer_is_told() -> None:
    connection = local_line(Path("/usr/bin"))
    connection._process.send_signal(signal.SIGKILL)
    with pytest.raises(SshError, match="closed the connection"):
        connection.ask(30)
    connection.close()


def test_an_answer_without_an_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    monkeypatch.setattr(line, "command", lambda _login: [sys.executable, "-c", endless])
    connection = local_line(Path("/usr/bin"))
    with pytest.raises(SshError, match="without an end"):
        connection.ask(60)
    connection.close()


def test_nothing_goes_on_when_the_collectors_process_is_killed(tmp_path: Path, sshd: Sshd) -> None:
    house = empty_house(tmp_path / "house")
    add(house, sshd)
    code = (
        "import os, threading; from proxy_app.config import load_config;"
        "from proxy_app.jobs.desk import Room; from proxy_app.hosts.metrics import Collector;"
        "Collector(Room(load_config(os.environ))).run(threading.Event())"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=house.environ)
    try:
        assert eventually(lambda: state(house) is not None)
        ssh = children(process.pid)
        assert len(sshd.sessions()) == 1
    finally:
        process.kill()
        process.wait()
    assert eventually(lambda: not sshd.sessions())
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ssh))
    house.room.close()


def test_the_program_that_runs_on_hosts_needs_no_newer_python_than_they_have() -> None:
    text = (ROOT / "proxy_app/hosts/on_host.py").read_text()
    ast.parse(text, feature_version=(3, 8))

"""Which run holds a host's lock, and when it is known to be over."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.spark.speech.plugins.modules import host_lock
from ansible_collections.spark.speech.plugins.plugin_utils import runs

ID = "0123456789abcdef" * 2
OURS, THEIRS = "a" * 16, "b" * 16
HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print(flush=True)
input()
"""


class Machine:
    """What tells this machine from others; as it is, but for what a test changes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self._folder = folder
        monkeypatch.delenv(runs.INSTALLATION, raising=False)
        monkeypatch.delenv(runs.FOLDER, raising=False)
        self.is_container("pid:[4026531836]")
        self.has_id(ID + "\n")
        self.has_mark("of this one")

    def has_id(self, text: str) -> None:
        path = self._folder / "machine-id"
        path.write_text(text)
        self._monkeypatch.setattr(runs, "_MACHINE_ID", path)

    def has_mark(self, folder: str) -> None:
        self._monkeypatch.setenv("XDG_STATE_HOME", str(self._folder / folder))

    def is_container(self, namespace: str) -> None:
        self._monkeypatch.setattr(runs, "_namespace", lambda: namespace)

    def boots(self) -> None:
        self._monkeypatch.setattr(runs, "_boot", lambda: "of another boot\n")

    def is_named(self, name: str) -> None:
        self._monkeypatch.setattr(runs.platform, "node", lambda: name)  # type: ignore[attr-defined]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


def ended_run() -> str:
    """The name of a run of this boot and machine whose process is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    start, rest = runs.this_run().split(".", 2)[1:]
    return f"{process.pid}.{start}.{rest}"


def test_a_run_is_alive_as_long_as_its_process(machine: Machine) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        rest = runs.this_run().split(".", 2)[2]
        run = f"{process.pid}.{runs._started(process.pid)}.{rest}"
        assert not runs.is_over(run)
        process.kill()
    assert runs.is_over(run)
    assert not runs.is_over(runs.this_run())


def test_another_process_of_the_same_number_is_not_the_run(machine: Machine) -> None:
    pid, start, rest = runs.this_run().split(".", 2)
    assert runs.is_over(f"{pid}.{int(start) - 1}.{rest}")


def test_what_cannot_be_looked_at_may_be_alive(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with another user's process where /proc is mounted with hidepid."""
    run = runs.this_run()
    monkeypatch.setattr(runs, "_started", lambda _pid: "")
    assert not runs.is_over(run)


def test_on_the_same_machine_a_run_is_over_after_a_reboot(machine: Machine) -> None:
    run = runs.this_run()
    machine.boots()
    assert runs.is_over(run)
    assert not runs.is_over(runs.this_run())


@pytest.mark.parametrize("rebooted", [False, True])
def test_of_another_machines_run_nothing_is_known(machine: Machine, rebooted: bool) -> None:
    run = ended_run()
    assert runs.is_over(run)
    if rebooted:
        machine.boots()
    machine.has_id("f" * 32)
    assert not runs.is_over(run)


def test_machines_of_one_image_are_not_taken_for_one_another(machine: Machine) -> None:
    run = runs.this_run()
    machine.boots()
    machine.has_mark("of another one")
    assert not runs.is_over(run)
    machine.has_mark("of this one")
    assert runs.is_over(run)
    machine.is_named("another")
    assert not runs.is_over(run)


@pytest.mark.parametrize("text", ["", "uninitialized\n"])
def test_a_machine_without_an_id_is_known_until_it_boots(machine: Machine, text: str) -> None:
    machine.has_id(text)
    run, ended = runs.this_run(), ended_run()
    assert runs.is_over(ended)
    machine.boots()
    assert not runs.is_over(run)
    assert not runs.is_over(ended)


def test_where_no_mark_can_be_made_the_run_has_a_name(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    machine.has_mark("a file")
    assert runs.is_over(ended_run())
    assert not runs.is_over(runs.this_run())


def test_the_mark_is_made_once_by_many_and_for_this_user_alone(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        marks = set(pool.map(runs._mark, [tmp_path] * 32))
    assert len(marks) == 1
    (path,) = (tmp_path / "spark-speech").iterdir()
    assert {path.read_bytes()} == marks
    assert path.stat().st_mode & 0o777 == 0o600


def test_of_another_containers_run_nothing_is_known(machine: Machine) -> None:
    outside = ended_run()
    machine.is_container("pid:[4026532001]")
    inside = ended_run()
    assert runs.is_over(inside)
    assert not runs.is_over(outside)
    machine.is_container("pid:[4026532002]")
    assert not runs.is_over(inside)
    machine.boots()
    assert not runs.is_over(inside)


def test_the_names_of_older_versions_are_understood(machine: Machine) -> None:
    """They were PID.START.PLACE everywhere."""
    pid, start = runs.this_run().split(".")[:2]
    gone = ended_run().split(".")[0]
    assert runs.is_over(f"{gone}.{start}.{runs._place()}")
    assert not runs.is_over(f"{pid}.{start}.{runs._place()}")
    assert not runs.is_over(f"{gone}.{start}.5f0c6e5cbb2e")


@pytest.mark.parametrize(
    "run", ["", "5f0c6e5cbb2e4d58", "run-1", "1.2", "x.1.2", "1.1.-a-b", "a-b"]
)
def test_of_what_is_no_runs_name_nothing_is_known(machine: Machine, run: str) -> None:
    assert not runs.is_over(run)


class Page:
    """The jobs of one page: each has its folder, and its playbook's lock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self._folder = folder

    def plays(self, job: str, *, of: str = OURS) -> str:
        """Be the playbook of a job, and give its name."""
        (self._folder / job).mkdir(exist_ok=True)
        self._monkeypatch.setenv(runs.INSTALLATION, of)
        self._monkeypatch.setenv(runs.FOLDER, str(self._folder / job))
        return runs.this_run()

    def lock(self, job: str) -> Path:
        return self._folder / job / runs.LOCK

    @contextmanager
    def held(self, job: str) -> Iterator[None]:
        """Let another process hold a job's lock."""
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(self.lock(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield
            process.kill()


@pytest.fixture
def page(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Page:
    (tmp_path / "jobs").mkdir()
    return Page(monkeypatch, tmp_path / "jobs")


def test_a_pages_job_is_over_when_nothing_holds_its_lock(page: Page, machine: Machine) -> None:
    run = page.plays("1")
    page.plays("2")
    with page.held("1"):
        for container in ("pid:[4026531836]", "pid:[4026532001]"):
            machine.is_container(container)
            assert not runs.is_over(run)
    machine.boots()  # wherever the next one runs
    assert page.lock("1").exists()
    assert runs.is_over(run)


def test_a_lock_that_is_held_counts_more_than_a_process_that_is_gone(page: Page) -> None:
    page.plays("1")
    run = ended_run()
    page.plays("2")
    with page.held("1"):
        assert not runs.is_over(run)
    assert runs.is_over(run)


def test_a_job_that_looks_at_itself_is_not_over(page: Page) -> None:
    run = page.plays("1")
    with page.lock("1").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not runs.is_over(run)


def test_two_that_look_do_not_take_each_other_for_the_playbook(page: Page) -> None:
    run = page.plays("1")
    with page.lock("1").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert runs.is_over(run)


def test_a_job_whose_folder_is_gone_is_over(page: Page) -> None:
    run = page.plays("1")
    page.lock("1").parent.rmdir()
    page.plays("2")
    assert runs.is_over(run)


def test_a_folder_that_cannot_be_read_tells_nothing(page: Page) -> None:
    run = page.plays("1")
    page.lock("1").symlink_to(page.lock("1").name)
    assert not runs.is_over(run)


def test_of_another_pages_job_nothing_is_known(page: Page, machine: Machine) -> None:
    run = page.plays("1", of=THEIRS)
    page.plays("1")
    machine.is_container("pid:[4026532001]")
    assert not runs.is_over(run)


def test_outside_of_the_page_its_job_is_a_process_as_any(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = page.plays("1")
    gone = ended_run()
    monkeypatch.delenv(runs.INSTALLATION)
    monkeypatch.delenv(runs.FOLDER)
    assert not runs.is_over(run)
    assert runs.is_over(gone)


def test_the_longest_name_is_one_that_the_lock_takes(
    page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runs, "_started", lambda _pid: "9" * 20)
    monkeypatch.setattr(os, "getpid", lambda: 4194304)
    run = page.plays("c" * 16)
    assert run.startswith("4194304.")
    assert host_lock._RUN_ID.fullmatch(run), len(run)

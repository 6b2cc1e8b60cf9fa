"""The lock of a host: one run at a time, leases that end, messages that name who is at work."""

import calendar
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.spark.speech.plugins.modules import host_lock

from tests.collection.conftest import RunModule

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
Take = Callable[..., dict[str, Any]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "lock.json"


@pytest.fixture
def lock(run_module: RunModule, path: Path) -> Take:
    """The module on one path, asked by the page's admin unless another holder is named."""

    def lock(**options: object) -> dict[str, Any]:
        if options.get("state") != "released":
            options = {"holder": "page, by admin", **options}
        return run_module("host_lock", paths=[str(path)], **options)

    return lock


def act(path: Path, **options: object) -> host_lock.Taken:
    """The module's work without its process, for tables of cases."""
    given: dict[str, Any] = {
        "state": "held",
        "run_id": None,
        "holder": "page, by admin",
        "lease_s": 900,
    }
    given |= {"paths": [path], "break_lock": False, "lost_run": ""}
    return host_lock.act({**given, **options}, dry=False)


def doctor(path: Path, **changes: object) -> None:
    """Change what the lock file says; `wall`, `uptime` and `boot` are of when it was taken."""
    told = json.loads(path.read_text())
    for name, value in changes.items():
        (told if name in told else told["renewed"])[name] = value
    path.write_text(json.dumps(told))


def test_a_run_takes_the_lock_renews_it_and_gives_it_back(lock: Take, path: Path) -> None:
    taken = lock()
    assert taken["holder"] == "page, by admin"
    assert not taken["changed"]
    first = json.loads(path.read_text())

    again = lock(run_id=taken["run_id"], lease_s=60)
    assert again["since"] == taken["since"]
    second = json.loads(path.read_text())
    assert second["lease_s"] == 60
    assert second["renewed"]["uptime"] > first["renewed"]["uptime"]

    released = lock(state="released", run_id=taken["run_id"])
    assert (released["holder"], released["changed"]) == ("", False)
    assert lock(state="released", run_id=taken["run_id"])["run_id"] == taken["run_id"]
    assert not path.parent.exists(), "an empty folder is a trace"


def test_the_folder_and_the_file_are_the_users_alone(lock: Take, path: Path) -> None:
    lock()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["lock.json"]


def test_another_run_is_told_who_is_at_work_since_when_until_when_and_what_to_do(
    lock: Take, path: Path
) -> None:
    taken = lock(run_id="run-1")
    refused = lock(run_id="run-2", holder="pipeline 77")
    assert refused["failed"]
    for told in (
        "page, by admin",
        "run-1",
        taken["since"],
        taken["until"],
        "break_lock",
        str(path),
    ):
        assert told in refused["msg"]
    assert json.loads(path.read_text())["run_id"] == "run-1"


def test_the_lock_of_another_run_is_not_given_back(lock: Take, path: Path) -> None:
    lock(run_id="run-1")
    refused = lock(state="released", run_id="run-2")
    assert refused["failed"]
    assert "page, by admin (run run-1)" in refused["msg"]
    assert path.exists()


def test_a_folder_that_holds_more_than_the_lock_stays(lock: Take, path: Path) -> None:
    lock(run_id="run-1")
    (path.parent / "key").touch()
    lock(state="released", run_id="run-1")
    assert [each.name for each in path.parent.iterdir()] == ["key"]


@pytest.mark.parametrize("state", ["held", "released"])
def test_breaking_the_lock_works_and_names_whose_it_was(lock: Take, path: Path, state: str) -> None:
    lock(run_id="run-1")
    broken = lock(run_id="run-2", state=state, break_lock=True)
    assert not broken.get("failed")
    assert "page, by admin (run run-1)" in str(broken["warnings"])
    assert path.exists() == (state == "held")


def test_the_lock_of_a_run_that_is_known_to_be_no_more_is_taken_and_no_other(
    lock: Take, path: Path
) -> None:
    lock(run_id="run-1")
    assert "at work here" in lock(run_id="run-2", lost_run="run-3")["msg"]
    taken = lock(run_id="run-2", lost_run="run-1")
    assert "page, by admin (run run-1)" in str(taken["warnings"])
    assert json.loads(path.read_text())["run_id"] == "run-2"


def test_of_several_locks_all_are_had_or_none(run_module: RunModule, path: Path) -> None:
    paths = [str(path.with_name(name)) for name in ("a", "b", "c")]
    ours = {"paths": paths, "holder": "page, by admin", "run_id": "run-1"}
    act(path.with_name("b"), run_id="run-2")
    assert run_module("host_lock", **ours)["held_by"] == "run-2"
    assert [each.name for each in path.parent.iterdir()] == ["b"]
    act(path.with_name("a"), run_id="run-1")
    assert run_module("host_lock", **ours)["held_by"] == "run-2"
    assert sorted(each.name for each in path.parent.iterdir()) == ["a", "b"]  # it was ours before
    act(path.with_name("b"), run_id="run-2", state="released")
    assert not run_module("host_lock", **ours).get("failed")
    assert sorted(each.name for each in path.parent.iterdir()) == ["a", "b", "c"]
    run_module("host_lock", **ours, state="released")
    assert not path.parent.exists()


NOW = time.time()
UPTIME = time.clock_gettime(time.CLOCK_BOOTTIME)
DAY = 86_400


@pytest.mark.parametrize(
    ("clock", "free"),
    [
        pytest.param({"uptime": UPTIME - 100}, False, id="within its lease"),
        pytest.param({"uptime": UPTIME - 901}, True, id="after its lease"),
        # The wall clock jumped by a day since: what counts is how long the machine was up.
        pytest.param({"uptime": UPTIME - 100, "wall": NOW + DAY}, False, id="jumped back"),
        pytest.param({"uptime": UPTIME - 901, "wall": NOW + DAY}, True, id="jumped back, over"),
        pytest.param({"uptime": UPTIME - 100, "wall": NOW - DAY}, False, id="jumped ahead"),
        # After a reboot only the wall clock is left.
        pytest.param({"boot": "another", "wall": NOW - 100}, False, id="rebooted, within"),
        pytest.param({"boot": "another", "wall": NOW - 901}, True, id="rebooted, after"),
        pytest.param({"boot": "another", "wall": NOW + DAY}, True, id="rebooted, jumped back"),
    ],
)
def test_a_lease_ends_by_the_time_that_passed_whatever_the_clock_says(
    path: Path, clock: dict[str, Any], free: bool
) -> None:
    act(path, run_id="run-1")
    doctor(path, **clock)
    if free:
        assert "page, by admin (run run-1)" in act(path, run_id="run-2").warnings[0]
        return
    with pytest.raises(host_lock.RefusedError) as refused:
        act(path, run_id="run-2")
    # The message's end of the lease is one that this clock will show, about 800 s from now.
    until = time.strptime(str(refused.value).split("until ")[1][:19], "%Y-%m-%d %H:%M:%S")
    assert abs(calendar.timegm(until) - NOW - 800) < 60


@pytest.mark.parametrize("expired", [False, True])
def test_of_many_takers_at_once_one_gets_the_lock(lock: Take, path: Path, expired: bool) -> None:
    if expired:
        lock(run_id="old")
        doctor(path, uptime=UPTIME - 901)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: lock(run_id=f"run-{i}"), range(8)))
    winners = [answer["run_id"] for answer in answers if not answer.get("failed")]
    assert len(winners) == 1
    assert json.loads(path.read_text())["run_id"] == winners[0]
    assert all(f"run {winners[0]}" in answer["msg"] for answer in answers if answer.get("failed"))


HAMMER = """
import sys, pathlib, os
from ansible_collections.spark.speech.plugins.modules.host_lock import RefusedError, act
path, me, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
ours = {"paths": [path], "run_id": me, "holder": me, "lease_s": 60, "break_lock": False}
ours["lost_run"] = ""
won = 0
while won < rounds:
    try:
        act({**ours, "state": "held"}, dry=False)
    except RefusedError as error:
        assert "at work here" in str(error), error
        continue
    # Only the holder gets here: a second one would find the file there.
    mark = os.open(path + ".inside", os.O_CREAT | os.O_EXCL)
    os.close(mark)
    os.unlink(path + ".inside")
    act({**ours, "state": "released"}, dry=False)
    won += 1
print(won)
"""


def test_taking_and_giving_back_in_a_race_never_lets_two_in(path: Path) -> None:
    # The folder is made and removed with the lock each time: that is part of the race.
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, str(path), f"run-{i}", "100"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(3)
    ]
    ends = [process.communicate(timeout=100) for process in processes]
    assert [out.strip() for out, _ in ends] == ["100"] * 3, "\n".join(err for _, err in ends)
    assert not path.parent.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"run_id": 1}', b"9" * 5000, b"null"],
    ids=["empty", "cut", "list", "binary", "half", "long", "null"],
)
def test_a_file_that_is_no_lock_is_left_alone_and_says_what_to_do(
    path: Path, content: bytes
) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(content)
    for state in ("held", "released"):
        with pytest.raises(host_lock.RefusedError, match=r"delete it.*break_lock") as refused:
            act(path, run_id="run-1", state=state)
        assert str(path) in str(refused.value)
    assert path.read_bytes() == content
    assert act(path, run_id="run-1", break_lock=True).warnings
    assert json.loads(path.read_text())["run_id"] == "run-1"


def test_a_link_in_place_of_the_lock_is_not_followed(lock: Take, path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    target = path.parent / "target"
    path.symlink_to(target)
    assert "no lock that can be read" in lock(run_id="run-1")["msg"]
    lock(run_id="run-1", break_lock=True)
    assert not target.exists()
    assert not path.is_symlink()


def test_a_folder_that_others_may_write_into_is_refused(lock: Take, path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o770)
    refused = lock()
    assert f"chmod 700 {path.parent}" in refused["msg"]
    path.parent.rmdir()
    path.parent.touch()
    assert "is not a folder" in lock()["msg"]


def test_check_mode_tells_the_same_and_writes_nothing(lock: Take, path: Path) -> None:
    assert lock(run_id="run-1", check=True)["holder"] == "page, by admin"
    assert not path.parent.exists()
    lock(run_id="run-1")
    before = path.read_bytes()
    assert "at work here" in lock(run_id="run-2", check=True)["msg"]
    assert not lock(run_id="run-1", check=True).get("failed")
    assert not lock(run_id="run-1", check=True, state="released").get("failed")
    assert not lock(run_id="run-2", check=True, break_lock=True).get("failed")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"run_id": "-x"}, "run_id"),
        ({"run_id": "a\nb"}, "run_id"),
        ({"run_id": ""}, "run_id"),
        ({"holder": "a\nb"}, "holder"),
        ({"holder": ""}, "holder"),
        ({"holder": "x" * 201}, "holder"),
        ({"holder": None}, "holder"),
        ({"lease_s": 0}, "lease_s"),
        ({"lease_s": 86_401}, "lease_s"),
        ({"paths": []}, "paths"),
        ({"state": "released"}, "run_id"),
        ({"state": "released", "run_id": None}, "run_id"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    path: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(host_lock.RefusedError, match=named):
        act(path, **options)
    assert not path.exists()


def test_a_refusal_of_the_file_system_is_a_message(lock: Take, path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.mkdir()
    refused = lock(break_lock=True)
    assert refused["failed"]
    assert str(path) in refused["msg"]
    assert "Traceback" not in refused["msg"]


def test_values_that_look_like_templates_or_commands_stay_text(lock: Take, path: Path) -> None:
    name = "{{ lookup('pipe', 'id') }}; rm -rf ~ $(id)"
    assert lock(run_id="run-1", holder=name)["holder"] == name
    assert name in lock(run_id="run-2")["msg"]

"""No unjust restart, none that is missed, no budget that leaks: what an adversary would try."""

import contextlib
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from proxy_app.jobs.project import ProjectError
from proxy_app.jobs.states import State
from proxy_app.services import Health, Places
from proxy_app.services.health import WARMING
from proxy_app.watch.probing import Check, Found
from proxy_app.watch.rounds import in_one_container, used_s
from proxy_app.watch.standing import At
from tests.watch.test_watcher import NOBODY
from tests.watch.world import BAD, GOOD, LATE, RUNNING, SERVICE, SILENT, TERMS, WELL, World

LOCKED = OperationalError("INSERT", {}, Exception("database is locked"))

# Somebody stops it.


@pytest.mark.parametrize("in_use", [True, False])
def test_what_is_being_stopped_finishes_its_work_in_peace(world: World, *, in_use: bool) -> None:
    """`docker stop` has it refuse connections at once, and gives it ten seconds."""
    world.health, world.checks, world.in_use = NOBODY, SILENT, in_use
    world.go(300 if in_use else 12)
    world.in_use = False
    world.standing = replace(RUNNING, at=At.STOPPED)
    world.go(60)
    assert (world.state, world.jobs) == ("stopped", [])


def test_what_takes_nobody_new_for_its_work_is_restarted_once_that_is_over(world: World) -> None:
    world.health, world.checks, world.in_use = NOBODY, SILENT, True
    world.go(3600)
    assert (world.state, world.restarts) == ("suspect", 0)
    world.in_use = False
    world.go(60)
    assert world.restarts == 1


def _is_stopped_as_it_crashes(world: World) -> None:
    world.health, world.checks = NOBODY, SILENT
    world.standing = replace(RUNNING, at=At.RESTARTING, life="life 9", restarts=9)
    world.go(5)
    assert (world.state, world.jobs[-1].kind) == ("given_up", "service.stop")


def test_what_we_stopped_and_a_person_started_and_stopped_stays_stopped(world: World) -> None:
    _is_stopped_as_it_crashes(world)
    world.end_job()
    world.new_life()
    world.go(60)
    world.standing = replace(world.standing, at=At.STOPPED)
    world.go(2000)
    assert (world.state, len(world.jobs)) == ("stopped", 1)


def test_what_we_could_not_stop_and_a_person_stopped_stays_stopped(world: World) -> None:
    _is_stopped_as_it_crashes(world)
    world.end_job(State.FAILED)
    world.standing = replace(world.standing, at=At.STOPPED)
    world.go(2000)
    assert (world.state, len(world.jobs)) == ("stopped", 1)


def test_what_we_may_not_start_we_do_not_stop(world: World) -> None:
    world.records.set_auto_restart("whisperx", on=False)
    world.health, world.checks = NOBODY, SILENT
    world.standing = replace(RUNNING, at=At.RESTARTING, life="life 9", restarts=9)
    world.go(60)
    assert (world.left, world.jobs) == (0, [])


# Late, and at work.


def test_a_late_probe_beside_a_good_answer_is_no_evidence(world: World) -> None:
    for _ in range(3):
        world.checks, world.meanwhile = LATE, lambda: world.reports.answered("whisperx")
        world.reports.ask("whisperx")
        world.go(5)
    assert (world.state, world.restarts) == ("ready", 0)


def test_a_service_that_hangs_is_restarted_although_requests_never_cease(world: World) -> None:
    """It tells no progress; each request is there until its time is over, and then the next is."""
    world.checks = LATE
    for _ in range(2):
        world.in_use_since = world.clock.monotonic
        world.go(200)
        assert world.restarts == 0
        world.fail(status=0)
    world.in_use_since = world.clock.monotonic
    world.go(130)
    assert world.restarts == 1


def test_a_long_request_is_let_alone_while_short_ones_behind_it_fail(world: World) -> None:
    """As long as nothing came in between the one that was there first is no newcomer."""
    world.checks, world.in_use_since = LATE, world.clock.monotonic
    for _ in range(10):
        world.fail(status=0)
        world.go(540)
    assert world.restarts == 0


def test_a_queue_that_is_full_of_what_does_not_advance_is_no_excuse(world: World) -> None:
    world.health = replace(WELL, tells_progress=True, in_flight=9, progress=7.0)
    world.checks = Check(Found.BUSY, "Its queue is full.")
    world.go(TERMS.stuck_s - 10)
    assert world.restarts == 0
    world.go(2 * TERMS.stuck_s)
    assert world.restarts == 1


def test_a_request_in_one_service_of_a_container_is_in_all_of_them(tmp_path: Path) -> None:
    places = Places(tmp_path)
    parakeet = replace(SERVICE, name="parakeet")
    elsewhere = replace(SERVICE, name="elsewhere", host="spark2")
    bare = replace(SERVICE, name="bare", container=None)
    services = (SERVICE, parakeet, elsewhere, bare)
    names = [partial(in_one_container, service, services) for service in services]
    with places.hold("parakeet", 1, 0):
        used = [used_s(of_one, places) is not None for of_one in names]
    assert used == [True, True, False, False]
    assert used_s(names[0], places) is None


# Evidence.


def test_a_probe_that_a_job_overtook_says_nothing(world: World) -> None:
    def somebody_restarts_it() -> None:
        world.switch("restart", world.service, by="the API", why="")
        world.end_job()

    world.restart_helps = False
    world.checks, world.meanwhile = [BAD, BAD, GOOD], somebody_restarts_it
    world.reports.ask("whisperx")
    world.go(60)
    assert (world.state, world.restarts, len(world.probes)) == ("ready", 0, 3)


def test_a_clip_that_was_refused_and_a_probe_that_failed_are_one_piece_of_evidence(
    world: World,
) -> None:
    world.checks = [Check(Found.REFUSED, "It refuses the gateway's key."), BAD, GOOD]
    world.go(3 * TERMS.probe_every_s)
    assert (world.state, world.restarts) == ("ready", 0)


def test_what_loaded_while_the_machine_slept_has_not_loaded_for_long(world: World) -> None:
    world.health = Health(WARMING, "Loading.")
    world.go(60)
    world.clock.sleep(8 * 3600)
    world.go(60)
    assert (world.state, world.restarts) == ("warming", 0)
    world.go(TERMS.load_limit_s)
    assert world.restarts == 1


def test_what_was_ready_before_the_machine_slept_is_probed_at_once(world: World) -> None:
    world.go(10)
    world.clock.sleep(8 * 3600)
    world.go(3)
    assert len(world.probes) == 1


def test_a_probe_that_was_asked_for_while_a_watch_process_began_is_made(world: World) -> None:
    for ahead_s in (-60, 60):
        world.clock.wall = time.time() + ahead_s
        world.reports.ask("whisperx")
        world.go(1)  # the last probe was before, and then after what is asked next
        world.probes.clear()
        world.reports.ask("whisperx")
        world.start()
        world.go(1)
        assert len(world.probes) == (ahead_s < 0)


# The budget, and the database.


def test_a_restart_of_a_container_counts_for_all_that_are_in_it(world: World) -> None:
    world.names = ["whisperx", "sortformer"]
    world.checks, world.fails = BAD, ProjectError("hosts.yml: expected a mapping")
    world.fail()
    world.go(10)
    assert world.records.restarts_left() == {}  # none could be ordered
    world.fails = None
    world.go(60)
    assert world.restarts == 1
    assert world.records.restarts_left() == {"whisperx": 2, "sortformer": 2}


def test_an_inventory_that_cannot_be_read_for_a_moment_forgives_nothing(world: World) -> None:
    world.person("restart")
    world.go(5)
    world.health = NOBODY
    world.new_life(restarts=1)
    world.go(5)
    world.health = WELL
    world.go(5)
    assert (world.state, world.left) == ("ready", 2)
    world.fails = ProjectError("hosts.yml: expected a mapping")
    world.start()
    world.go(5)
    world.fails = None
    world.go(5)
    assert (world.state, world.left) == ("ready", 2)


def test_a_registration_that_changes_in_the_middle_of_a_restart_costs_no_second_one(
    world: World,
) -> None:
    world.checks = BAD
    world.fail()
    world.go(1)
    assert world.state == "restarting"
    # Another host's, which has had no job, and whose budget is whole.
    world.service, world.jobs = replace(SERVICE, host="spark2"), []
    world.health = Health(WARMING, "Loading.")
    world.start()
    world.go(30)
    assert (world.state, world.jobs, world.left) == ("warming", [], 3)
    world.health, world.checks = WELL, GOOD
    world.go(5)
    assert (world.state, world.left) == ("ready", 3)


def test_a_database_that_is_locked_costs_no_restart_that_was_never_made(world: World) -> None:
    world.checks, world.fails = BAD, LOCKED
    world.fail()
    for _ in range(6):
        with contextlib.suppress(OperationalError):
            world.watcher.round()
        world.clock.sleep(5)
    assert (world.restarts, world.left) == (0, 2)
    world.fails = None
    world.go(10)
    assert (world.restarts, world.left) == (1, 2)


def test_what_cannot_be_written_down_is_not_told_until_it_can_be(world: World) -> None:
    world.watcher.withdraw()  # as after a round that failed
    assert world.told() is None
    world.go(0.1)
    assert world.verdict().state == "ready"

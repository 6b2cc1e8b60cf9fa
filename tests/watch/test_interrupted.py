"""Restarts that did not come to their end: lost, canceled, timed out, at any moment."""

from dataclasses import replace

import pytest

from proxy_app.jobs.states import State
from proxy_app.services import Health
from proxy_app.services.health import UNREACHABLE, WARMING
from proxy_app.watch.absence import SETTLED_S
from proxy_app.watch.standing import At
from tests.watch.world import BAD, GOOD, LATE, RUNNING, World

NOBODY = Health(UNREACHABLE, "It cannot be reached.")
STOPPED = replace(RUNNING, at=At.STOPPED, detail="Somebody stopped it.")
ENDS = [State.LOST, State.CANCELED, State.TIMED_OUT, State.FAILED]


@pytest.mark.parametrize("end", ENDS)
def test_what_a_restart_has_stopped_and_not_started_is_started(world: World, end: State) -> None:
    world.checks = BAD
    world.fail()
    world.go(1)
    world.health, world.standing = NOBODY, STOPPED
    world.end_job(end)
    world.go(5)
    assert (world.state, world.restarts, world.left) == ("restarting", 2, 1)
    world.health = replace(NOBODY, state=WARMING)
    world.end_job()
    world.go(3)
    assert world.state == "warming"


@pytest.mark.parametrize("end", ENDS)
def test_a_persons_start_that_was_cut_off_is_done_too(world: World, end: State) -> None:
    world.switch("restart", world.service, by="the API", why="")
    world.go(3)
    world.health, world.standing = NOBODY, STOPPED
    world.end_job(end)
    world.go(5)
    assert (world.state, world.restarts) == ("restarting", 1)


def test_what_the_next_watch_process_finds_so_is_started(world: World) -> None:
    world.checks = BAD
    world.fail()
    world.go(1)
    world.health, world.standing = NOBODY, STOPPED
    world.end_job(State.LOST)
    world.watcher.round()
    world.start()
    world.go(5)
    assert (world.state, world.restarts) == ("restarting", 2)


def test_a_stop_that_was_cut_off_is_a_stop(world: World) -> None:
    world.switch("stop", world.service, by="the API", why="")
    world.go(3)
    world.health, world.standing = NOBODY, STOPPED
    world.end_job(State.LOST)
    world.go(60)
    assert (world.state, world.restarts) == ("stopped", 0)


def test_what_a_person_stops_after_a_restart_was_cut_off_stays_so(world: World) -> None:
    world.checks = BAD
    world.fail()
    world.go(1)
    world.checks = GOOD
    world.end_job(State.LOST)
    world.go(2 * SETTLED_S)
    assert world.state == "ready"
    world.health, world.standing = NOBODY, STOPPED
    world.go(60)
    assert (world.state, world.restarts) == ("stopped", 1)


def test_a_stop_that_goes_on_after_its_job_was_lost_is_not_a_persons(world: World) -> None:
    world.checks = BAD
    world.fail()
    world.go(1)
    world.checks = GOOD
    world.end_job(State.LOST)
    world.go(8)
    assert world.state == "ready"  # Docker gives it ten seconds
    world.health, world.standing = NOBODY, STOPPED
    world.go(5)
    assert (world.state, world.restarts) == ("restarting", 2)


def test_what_hangs_on_after_a_restart_that_was_lost_is_restarted_soon(world: World) -> None:
    world.health, world.checks = NOBODY, LATE
    world.go(60)
    assert (world.state, world.restarts) == ("restarting", 1)
    world.end_job(State.LOST)
    world.go(3)
    assert world.verdict().refuses
    world.go(60)
    assert (world.state, world.restarts) == ("restarting", 2)


def test_what_a_restart_has_started_before_it_was_lost_is_left_to_load(world: World) -> None:
    world.checks = BAD
    world.fail()
    world.go(1)
    world.new_life()
    world.health = NOBODY
    world.end_job(State.TIMED_OUT)
    world.go(600)
    assert (world.state, world.restarts, world.left) == ("warming", 1, 2)


def test_a_persons_restart_that_failed_leaves_the_budget_as_it_was(world: World) -> None:
    world.records.add_restart("whisperx", by="watch")
    world.switch("restart", world.service, by="the API", why="")
    world.go(3)
    world.end_job(State.FAILED)
    world.go(3)
    assert world.left == 2
    world.person("restart")
    world.go(3)
    assert world.left == 3

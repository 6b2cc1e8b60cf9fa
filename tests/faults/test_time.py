"""Faults that take half an hour, or another clock: with a clock that the test moves.

The numbers are those of the list of faults in docs/architecture.md.
"""

from proxy_app.jobs.states import State
from tests.watch.conftest import empty_database, world  # noqa: F401 - fixtures
from tests.watch.test_watcher import spend
from tests.watch.world import BAD, GOOD, TERMS, World

# ruff: noqa: F811 - a fixture is an argument of its own name


def test_4_the_window_slides_and_there_is_another_restart(world: World) -> None:
    spend(world)
    world.go(1700)
    assert (world.state, world.restarts) == ("given_up", 3)
    world.go(120)
    assert (world.state, world.restarts) == ("restarting", 4)


def test_13_a_clock_that_jumps_opens_no_budget(world: World) -> None:
    spend(world)
    world.clock.wall += 86_400
    world.go(600)
    world.start()
    world.go(600)
    assert (world.state, world.restarts) == ("given_up", 3)


def test_17_a_probe_that_flaps_restarts_nothing(world: World) -> None:
    world.checks = [BAD, GOOD] * 8 + [GOOD]
    world.go(8 * TERMS.probe_every_s)
    assert len(world.probes) > 8
    assert (world.state, world.restarts) == ("ready", 0)


def test_16_a_restart_that_hangs_or_fails_counts_and_is_tried_again(world: World) -> None:
    world.checks = BAD
    world.fail()
    world.go(600)
    assert (world.state, world.restarts) == ("restarting", 1)
    for state in (State.TIMED_OUT, State.FAILED, State.LOST):
        world.end_job(state)
        world.go(10)
    assert (world.state, world.restarts, world.left) == ("given_up", 3, 0)

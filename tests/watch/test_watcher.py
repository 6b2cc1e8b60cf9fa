"""What makes a service doubtful, and what gets it restarted; with a clock that a test moves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy_app.jobs.states import State
from proxy_app.services import Health
from proxy_app.services.health import SUSPECT, UNREACHABLE, WARMING
from proxy_app.watch.probing import Check, Found
from proxy_app.watch.standing import At, Standing
from proxy_app.watch.watcher import REPROBE_S
from tests.watch.world import BAD, GOOD, LATE, RUNNING, SILENT, TERMS, WELL, World

NOBODY = Health(UNREACHABLE, "It cannot be reached.")


def heal(world: World) -> None:
    """Let the restart that is at work come to its end, and the probe after it."""
    assert world.state == "restarting"
    world.end_job()
    world.go(3)


def test_a_service_is_probed_every_five_minutes(world: World) -> None:
    world.go(3 * TERMS.probe_every_s + 10)
    assert len(world.probes) == 3
    assert world.jobs == []


def test_a_probe_that_is_asked_for_is_made_within_a_second(world: World) -> None:
    asked = world.clock.monotonic
    world.reports.ask("whisperx")
    world.go(1)
    (probed,) = world.probes
    assert probed - asked < 1
    check = world.row.last_check
    assert check is not None
    assert (check["ok"], check["heard"]) == (True, "Good morning.")
    assert not world.row.checking


def test_a_failure_that_a_probe_does_not_confirm_restarts_nothing(world: World) -> None:
    failed = world.clock.monotonic
    world.fail()
    world.go(1)
    assert len(world.probes) == 1
    assert world.probes[0] - failed < 1
    assert (world.state, world.restarts, world.left) == ("ready", 0, 3)


def test_fifty_failures_and_a_failed_probe_are_one_probe_and_one_restart(world: World) -> None:
    world.checks = BAD
    world.fail(50)
    world.go(1)
    assert (world.state, len(world.probes), world.restarts) == ("restarting", 1, 1)
    world.fail(50)  # requests that were there still
    world.go(30)
    assert (len(world.probes), world.restarts) == (1, 1)
    heal(world)
    assert (world.state, world.restarts, world.left) == ("ready", 1, 2)


def test_a_broken_recording_that_is_sent_for_ever_costs_a_probe_now_and_then(world: World) -> None:
    for _ in range(100):
        world.fail()
        world.go(0.5)
    assert 3 <= len(world.probes) <= 1 + 50 / REPROBE_S
    assert world.restarts == 0


def test_a_probe_that_nobody_asked_for_needs_a_second_one_to_restart(world: World) -> None:
    world.checks = [BAD, GOOD]
    world.go(TERMS.probe_every_s + 5)
    assert (world.state, len(world.probes), world.restarts) == ("ready", 2, 0)
    world.checks = [BAD, BAD]
    world.go(TERMS.probe_every_s)
    assert (world.state, world.restarts) == ("restarting", 1)


def test_a_probe_waits_behind_work_that_advances_but_not_for_ever(world: World) -> None:
    world.works = True
    world.go(2 * TERMS.probe_every_s)
    assert world.probes == []
    world.go(2 * TERMS.probe_every_s)
    assert len(world.probes) == 1
    assert world.restarts == 0


def test_a_service_that_fails_every_other_probe_is_not_restarted(world: World) -> None:
    world.checks = [BAD, GOOD] * 10 + [GOOD]
    world.go(10 * TERMS.probe_every_s)
    assert len(world.probes) > 10
    assert world.restarts == 0


def test_requests_are_kept_away_once_a_probe_has_failed_and_not_before(world: World) -> None:
    world.checks = [BAD, GOOD]
    world.fail()
    assert not world.verdict().refuses
    world.go(1)
    assert world.verdict().refuses
    heal(world)
    assert not world.verdict().refuses


def test_the_fourth_restart_in_half_an_hour_is_not_made_but_the_window_slides(
    world: World,
) -> None:
    world.restart_helps = False
    world.checks = BAD
    began = world.clock.monotonic
    world.fail()
    world.go(1)
    for made in (1, 2, 3):
        assert (world.state, world.restarts) == ("restarting", made)
        world.go(60)
        world.end_job()
        world.go(10)
    assert (world.state, world.left) == ("given_up", 0)
    assert world.row.detail.startswith("3 restarts in 30 minutes did not help")
    assert world.verdict().refuses
    world.go(1799 - (world.clock.monotonic - began))
    assert (world.state, world.restarts) == ("given_up", 3)
    world.restart_helps = True
    world.go(60)
    assert world.restarts == 4
    heal(world)
    assert world.state == "ready"


def test_what_was_given_up_and_works_again_is_ready(world: World) -> None:
    spend(world)
    world.checks = GOOD
    world.go(40)
    assert (world.state, world.left) == ("ready", 0)


def test_a_person_who_restarts_what_was_given_up_has_a_whole_budget_again(world: World) -> None:
    spend(world)
    world.person("restart")
    world.go(5)
    assert (world.state, world.left) == ("ready", 3)


def spend(world: World) -> None:
    """Use the budget up, to no avail."""
    world.restart_helps = False
    world.checks = BAD
    world.fail()
    world.go(1)
    for _ in range(3):
        world.end_job()
        world.go(10)
    assert world.state == "given_up"
    world.restart_helps = True


def test_the_budget_survives_a_watch_process_that_is_killed(world: World) -> None:
    world.restart_helps = False
    world.checks = BAD
    world.fail()
    world.go(1)
    for _ in range(3):
        world.start()  # in the middle of the job
        world.go(2)
        assert world.state == "restarting"
        world.end_job()
        world.start()  # right after it
        world.go(10)
    world.start()
    world.go(120)
    assert (world.state, world.restarts) == ("given_up", 3)


@pytest.mark.parametrize("jump_s", [-86_400, 86_400, 1801])
def test_a_jump_of_the_wall_clock_opens_no_budget_and_closes_none(
    world: World, jump_s: float
) -> None:
    spend(world)
    world.clock.wall += jump_s
    world.go(600)
    assert (world.state, world.restarts) == ("given_up", 3)
    world.go(1300)
    assert world.restarts == 4


def test_a_jump_of_the_wall_clock_puts_no_probe_off(world: World) -> None:
    world.clock.wall -= 86_400
    world.start()
    world.go(TERMS.probe_every_s + 10)
    assert len(world.probes) == 1
    world.fail()
    world.go(1)
    assert len(world.probes) == 2


def test_a_reboot_opens_no_budget(world: World) -> None:
    spend(world)
    world.clock.boot_id, world.clock.monotonic = "boot 2", 30.0
    world.clock.wall += 86_400  # the clock of a machine without a battery
    world.start()
    world.go(1600)
    assert (world.state, world.restarts) == ("given_up", 3)
    world.go(200)
    assert world.restarts == 4


def test_a_restart_that_fails_is_counted_and_tried_again(world: World) -> None:
    world.checks = BAD
    world.fail()
    world.go(1)
    world.go(600)  # it hangs
    assert (world.state, world.restarts) == ("restarting", 1)
    for state in (State.TIMED_OUT, State.FAILED, State.LOST):
        world.end_job(state)
        world.go(10)
    assert (world.state, world.restarts, world.left) == ("given_up", 3, 0)


def test_what_loads_is_let_alone(world: World) -> None:
    world.checks = BAD
    world.fail()
    world.go(1)
    world.end_job()
    world.health, world.checks = Health(WARMING, "Loading: waiting for Whisper."), BAD
    world.probes.clear()
    for _ in range(17):
        world.fail()
        world.go(100)
    assert (world.state, world.probes, world.restarts) == ("warming", [], 1)
    world.health, world.checks = WELL, GOOD
    world.go(3)
    assert (world.state, world.restarts) == ("ready", 1)


def test_what_loads_for_longer_than_anything_does_is_restarted(world: World) -> None:
    world.health = Health(WARMING, "Loading.")
    world.go(TERMS.load_limit_s - 10)
    assert world.restarts == 0
    world.go(20)
    assert world.restarts == 1


def test_a_container_that_is_removed_is_absent_and_left_so(world: World) -> None:
    world.health, world.standing, world.checks = NOBODY, Standing(At.ABSENT, "gone"), SILENT
    world.fail()
    world.go(3600)
    assert (world.state, world.jobs, world.left) == ("absent", [], 3)
    assert world.asked_host < 3600 / 25, "its host is asked ever less often"


def test_what_a_person_stopped_stays_stopped_until_it_is_started(world: World) -> None:
    world.health, world.checks = NOBODY, SILENT
    world.standing = replace(RUNNING, at=At.STOPPED)
    world.fail()
    world.go(3600)
    assert (world.state, world.jobs, world.left) == ("stopped", [], 3)
    world.health, world.checks = WELL, GOOD
    world.new_life()
    world.go(3)
    assert (world.state, world.left) == ("ready", 3)


def test_a_stop_by_a_job_is_shown_at_once(world: World) -> None:
    world.health, world.standing = NOBODY, replace(RUNNING, at=At.STOPPED)
    world.person("stop")
    world.go(3)
    assert (world.state, world.restarts) == ("stopped", 0)


def test_a_host_that_is_gone_is_unreachable_and_nothing_is_counted(world: World) -> None:
    world.health, world.standing = NOBODY, Standing(At.UNKNOWN, "spark1 gives no answer.")
    world.go(3600)
    assert (world.state, world.jobs, world.left) == ("unreachable", [], 3)
    world.health = WELL
    world.standing = RUNNING
    world.go(3)
    assert world.state == "ready"


def test_a_container_that_ended_for_good_is_started(world: World) -> None:
    world.health, world.checks = NOBODY, SILENT
    world.standing = replace(RUNNING, at=At.CRASHED)
    world.go(4)
    assert (world.state, world.restarts) == ("suspect", 0)  # it may be started again yet
    world.go(10)
    assert (world.state, world.restarts) == ("restarting", 1)


def test_a_container_in_which_nobody_listens_any_more_is_restarted(world: World) -> None:
    world.health, world.checks = NOBODY, SILENT
    world.go(10)
    assert (world.state, world.restarts) == ("suspect", 0)  # somebody may be stopping it
    world.go(20)
    assert world.restarts == 1


def test_a_moment_without_connection_restarts_nothing(world: World) -> None:
    for _ in range(20):
        world.health, world.checks = NOBODY, SILENT
        world.fail()
        world.go(3)
        world.health, world.checks = WELL, GOOD
        world.go(20)
    assert (world.state, world.restarts) == ("ready", 0)


def test_restarts_that_docker_makes_count_and_then_it_is_stopped(world: World) -> None:
    for restarts in (1, 2, 3):
        world.health, world.checks = NOBODY, SILENT
        world.new_life(restarts=restarts)
        world.go(5)
        assert world.state == "warming"
        world.health, world.checks = WELL, GOOD
        world.go(5)
        assert (world.state, world.left) == ("ready", 3 - restarts)
    world.health, world.checks = NOBODY, SILENT
    world.new_life(restarts=4)
    world.go(5)
    assert (world.state, world.jobs[-1].kind) == ("given_up", "service.stop")
    world.end_job()
    world.standing = replace(world.standing, at=At.STOPPED)
    world.go(1700)
    assert (world.state, len(world.jobs)) == ("given_up", 1)
    world.go(200)
    assert (world.state, world.jobs[-1].kind) == ("restarting", "service.restart")


def test_a_container_that_docker_starts_again_and_again_is_stopped(world: World) -> None:
    world.health, world.checks = NOBODY, SILENT
    world.standing = replace(RUNNING, at=At.RESTARTING, life="life 9", restarts=9)
    world.go(5)
    assert (world.state, world.left, world.jobs[-1].kind) == ("given_up", 0, "service.stop")


def test_restarts_by_hand_and_by_the_page_are_not_dockers(world: World) -> None:
    world.new_life()
    world.health = NOBODY
    world.go(5)
    world.health = WELL
    world.go(5)
    assert (world.state, world.left) == ("ready", 3)
    world.person("restart")
    world.go(5)
    assert (world.state, world.left) == ("ready", 3)


def test_a_process_that_its_supervisor_started_again_is_counted(world: World) -> None:
    engine = Standing(At.RUNNING, "Its process runs.", "100", "4711")
    world.standing = engine
    world.person("restart")
    world.standing = engine
    world.go(5)
    assert world.left == 3
    world.health = NOBODY
    world.standing = replace(engine, life="200")
    world.go(5)
    world.health = WELL
    world.go(5)
    assert (world.state, world.left) == ("ready", 2)
    world.standing = replace(engine, life="300", container="4712")  # make down, make up
    world.start()
    world.health = NOBODY
    world.go(5)
    world.health = WELL
    world.go(5)
    assert (world.state, world.left) == ("ready", 2)


def test_a_process_that_is_younger_than_before_was_started_again(world: World) -> None:
    world.health = replace(WELL, uptime_s=1000.0)
    world.go(5)
    world.new_life(restarts=1)
    world.health = replace(WELL, uptime_s=1.0)
    world.go(5)
    assert (world.state, world.left) == ("ready", 2)


def test_no_restart_while_work_advances(world: World) -> None:
    """Ninety minutes in a service that says how far it is, and no probe that comes through."""
    world.checks, world.works = LATE, True
    world.go(5400)
    assert (world.restarts, world.state) == (0, "ready")
    assert len(world.probes) < 5400 / TERMS.probe_every_s / 2, "a probe waits"
    world.fail()
    world.go(3600)
    assert world.restarts == 0


def test_no_restart_while_a_request_of_ours_is_in_a_service_that_tells_nothing(
    world: World,
) -> None:
    world.checks, world.in_use = LATE, True
    world.fail(status=0)
    world.go(5400)
    assert world.restarts == 0
    world.in_use = False
    world.checks = GOOD
    world.go(10)
    assert (world.state, world.restarts) == ("ready", 0)


def test_one_probe_that_is_late_restarts_nothing_and_a_second_one_does(world: World) -> None:
    world.checks = [LATE, GOOD]
    world.fail()
    world.go(70)
    assert (world.state, world.restarts) == ("ready", 0)
    world.checks = [LATE, LATE]
    world.fail()
    world.go(130)
    assert world.restarts == 1


def test_work_that_does_not_advance_is_probed_and_then_restarted(world: World) -> None:
    world.health = replace(WELL, tells_progress=True, in_flight=1, progress=7.0)
    world.checks = [GOOD, GOOD, LATE]
    world.go(TERMS.stuck_s + 5)
    assert (len(world.probes), world.restarts) == (1, 0)  # it answered others
    world.go(2 * TERMS.stuck_s + 300)
    assert world.restarts == 1


def test_an_idle_engine_that_hangs_on_the_probe_itself_is_restarted(world: World) -> None:
    world.health = replace(WELL, tells_progress=True, in_flight=0)
    world.go(5)
    world.reports.ask("whisperx")
    world.health = replace(WELL, tells_progress=True, in_flight=1, progress=7.0)
    world.checks = LATE
    world.go(200)
    assert world.restarts == 1


def test_a_frozen_process_that_used_to_tell_its_progress_is_not_taken_for_a_busy_one(
    world: World,
) -> None:
    world.health = replace(WELL, tells_progress=True, in_flight=1, progress=7.0)
    world.go(5)
    world.health = Health(SUSPECT, "/health gave no answer within 2 s.")
    world.checks, world.in_use = LATE, True
    world.go(200)
    assert world.restarts == 1


def test_what_says_nothing_of_its_health_is_ready_when_its_probe_is_good(tmp_path: Path) -> None:
    world = World(tmp_path, health=Health(SUSPECT, "/health answers 404."))
    world.go(TERMS.probe_every_s)
    assert (world.state, len(world.probes)) == ("ready", 1)
    world.store.close()


def test_what_is_full_or_has_dropped_its_models_is_well(world: World) -> None:
    world.checks = Check(Found.BUSY, "Its queue is long.")
    world.go(2 * TERMS.probe_every_s)
    assert (world.state, world.restarts) == ("ready", 0)


def test_a_service_that_refuses_the_clip_is_doubtful_and_not_restarted(world: World) -> None:
    world.checks = Check(Found.REFUSED, "It refuses the gateway's key.")
    world.go(2 * TERMS.probe_every_s)
    assert (world.state, world.restarts) == ("suspect", 0)
    assert not world.verdict().refuses


def test_a_good_answer_to_a_request_clears_a_suspicion(world: World) -> None:
    world.reports.answered("whisperx")
    world.checks, world.in_use = LATE, True
    world.fail(status=0)
    world.go(70)
    assert world.state == "suspect"
    world.reports.answered("whisperx")
    world.go(5)
    assert (world.state, len(world.probes)) == ("ready", 1)


def test_without_leave_nothing_is_restarted_and_the_page_says_so(world: World) -> None:
    world.records.set_auto_restart("whisperx", on=False)
    world.checks = BAD
    world.fail()
    world.go(300)
    assert (world.state, world.restarts, world.left) == ("suspect", 0, 3)
    assert "automatic restarts are off" in world.row.detail
    assert world.verdict().refuses
    world.checks = GOOD
    world.go(40)
    assert world.state == "ready"


def test_a_job_of_somebody_else_is_let_work(world: World) -> None:
    world.switch("restart", world.service, by="the API", why="")
    world.checks = BAD
    world.fail(5)
    world.go(60)
    assert (world.state, world.probes, world.restarts) == ("restarting", [], 0)


# Another service under an old name, and the next watch process.


@pytest.mark.parametrize(
    "other",
    [
        {"base_url": "http://127.0.0.1:2"},
        {"api": "parakeet"},
        {"host": "spark2"},
        {"container": "another"},
    ],
)
def test_another_service_under_an_old_name_begins_anew(world: World, other: dict[str, Any]) -> None:
    world.records.add_restart("whisperx", by="watch")
    world.service = replace(world.service, **other)
    world.checks = BAD
    world.start()
    assert (world.state, world.row.last_check, world.left) == ("unreachable", None, 3)
    world.go(0.1)
    check = world.row.last_check
    assert check is not None
    assert (world.state, len(world.probes), check["heard"]) == ("suspect", 1, "la la")


@pytest.mark.parametrize("same", [{}, {"title": "Another title"}, {"source": "whisperx.json"}])
def test_the_same_service_goes_on_with_its_state_and_its_budget(
    world: World, same: dict[str, Any]
) -> None:
    world.records.add_restart("whisperx", by="watch")
    world.service = replace(world.service, **same)
    world.start()
    world.go(10)
    assert (world.state, world.left, world.probes) == ("ready", 2, [])


def test_a_ready_service_that_is_suspect_at_the_first_look_is_probed(world: World) -> None:
    world.health = Health(SUSPECT, "/health answers with status 404.")
    world.start()
    world.checks = BAD
    world.go(0.1)
    assert (world.state, len(world.probes)) == ("restarting", 1)

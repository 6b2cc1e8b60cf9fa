"""Whose step is next, and what becomes of jobs that fail, are left, or come when time is short."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from images.serving import scheduling
from images.serving.scheduling import (
    AGEING_S,
    CLIP_S,
    Job,
    Scheduler,
    Steps,
    Task,
    Unwanted,
    choose,
    value_of,
)

LANE = "transcription"
OTHER = "diarization"
LONG_S = 1800.0


@pytest.fixture
def one_thread() -> Iterator[Scheduler]:
    yield from _running(Scheduler([[LANE, OTHER]]))


@pytest.fixture
def two_threads() -> Iterator[Scheduler]:
    yield from _running(Scheduler([[LANE], [OTHER]]))


def _running(scheduler: Scheduler) -> Iterator[Scheduler]:
    scheduler.start()
    yield scheduler
    scheduler.stop()


def steps(job: Job, count: int, log: list[str], name: str) -> Steps:
    """So many steps that do nothing but to be written down."""
    for number in range(1, count + 1):
        log.append(name)
        yield job.duration_s * number / count


def held(began: threading.Event, go_on: threading.Event, failure: str = "") -> Steps:
    """A step that tells that it began and goes on when it is told, to fail where that is said."""
    began.set()
    assert go_on.wait(30)
    if failure:
        raise RuntimeError(failure)
    yield 3.0


def endless(began: threading.Event, closed: threading.Event) -> Steps:
    """Steps without end, which tell that they began and that they were closed."""
    try:
        while True:
            began.set()
            yield 0.0
    finally:
        closed.set()


def task(duration_s: float, *, served: float = 0.0, done_s: float = 0.0) -> Task:
    """A task of a job with this lane only."""
    job = Job(duration_s)
    made = Task(job, LANE, steps(job, 1, [], ""), served, done_s)
    job.tasks.append(made)
    return made


def wait(future: Future[None]) -> None:
    future.result(30)


def test_a_clip_goes_before_long_recordings_whenever_they_came() -> None:
    long, clip = task(LONG_S), task(CLIP_S - 1, served=5.0)
    assert choose([long, clip], 6.0, was_aged=False) == (clip, False)


def test_of_several_clips_the_first_that_came_is_next() -> None:
    first, second = task(20.0), task(3.0)
    assert choose([first, second], 1.0, was_aged=False) == (first, False)


def test_of_long_recordings_the_one_with_the_least_left_is_next() -> None:
    nearly_done, untouched = task(LONG_S, done_s=1700.0), task(300.0)
    assert choose([untouched, nearly_done], 1.0, was_aged=False) == (nearly_done, False)


def test_work_that_was_passed_over_for_long_gets_a_step_in_spite_of_clips() -> None:
    long, clip = task(LONG_S), task(3.0, served=AGEING_S - 1)
    assert choose([clip, long], AGEING_S, was_aged=False) == (long, True)


def test_a_clip_waits_for_no_more_than_one_step_of_old_work() -> None:
    old = [task(LONG_S) for _ in range(30)]
    clip = task(3.0, served=AGEING_S)
    assert choose([*old, clip], AGEING_S + 1, was_aged=True) == (clip, False)


def test_old_work_that_is_alone_needs_no_pause() -> None:
    long = task(LONG_S)
    assert choose([long], AGEING_S, was_aged=True) == (long, True)


def test_of_one_jobs_lanes_in_one_thread_the_one_that_is_behind_is_next() -> None:
    job = Job(LONG_S)
    ahead, behind = (
        Task(job, lane, steps(job, 1, [], ""), 0.0, done_s)
        for lane, done_s in ((LANE, 60.0), (OTHER, 30.0))
    )
    job.tasks += [ahead, behind]
    assert choose([ahead, behind], 1.0, was_aged=False) == (behind, False)


def test_a_clip_that_comes_in_the_middle_of_a_long_recording_is_done_before_it(
    one_thread: Scheduler,
) -> None:
    log: list[str] = []
    at_work, go_on = threading.Event(), threading.Event()
    long, clip = Job(LONG_S), Job(3.0)

    def slow() -> Steps:
        for number in range(1, 6):
            at_work.set()
            assert go_on.wait(30)
            log.append("long")
            yield LONG_S * number / 5

    one_thread.submit(long, {LANE: slow()})
    assert at_work.wait(30)
    one_thread.submit(clip, {LANE: steps(clip, 2, log, "clip")})
    go_on.set()
    wait(long.finished)
    assert log == ["long", "clip", "clip", "long", "long", "long", "long"]
    assert clip.finished.done()


def test_lanes_with_a_thread_each_work_side_by_side(two_threads: Scheduler) -> None:
    both = threading.Barrier(2, timeout=30)
    job = Job(LONG_S)

    def meet() -> Steps:
        both.wait()  # passes only where the other lane is at work, too
        yield LONG_S

    two_threads.submit(job, {LANE: meet(), OTHER: meet()})
    wait(job.finished)


def test_an_error_in_one_lane_ends_the_other_and_runs_its_finally(two_threads: Scheduler) -> None:
    job = Job(LONG_S)
    began, closed = threading.Event(), threading.Event()

    def failing() -> Steps:
        assert began.wait(30)
        yield float("broken")

    two_threads.submit(job, {LANE: endless(began, closed), OTHER: failing()})
    with pytest.raises(ValueError, match="broken"):
        wait(job.finished)
    assert closed.wait(30)
    assert two_threads.idle


def test_an_error_is_told_as_the_owner_says() -> None:
    scheduler = Scheduler([[LANE]], translate=lambda error: RuntimeError(f"told: {error}"))
    scheduler.start()
    job = Job(1.0)

    def failing() -> Steps:
        yield float("broken")

    try:
        scheduler.submit(job, {LANE: failing()})
        with pytest.raises(RuntimeError, match=r"told: .*broken"):
            wait(job.finished)
    finally:
        scheduler.stop()


def test_a_job_that_waits_and_is_left_never_begins(one_thread: Scheduler) -> None:
    log: list[str] = []
    at_work, go_on = threading.Event(), threading.Event()
    running, waiting = Job(3.0), Job(3.0)
    one_thread.submit(running, {LANE: held(at_work, go_on)})
    assert at_work.wait(30)
    one_thread.submit(waiting, {LANE: steps(waiting, 1, log, "left")})
    one_thread.abandon(waiting)
    with pytest.raises(Unwanted):  # at once, and not after the step at hand
        wait(waiting.finished)
    go_on.set()
    wait(running.finished)
    assert not log


def test_a_job_that_is_left_is_over_once_no_lane_is_in_a_step_of_it(
    two_threads: Scheduler,
) -> None:
    go_on, log = threading.Event(), list[str]()
    left, other = Job(3.0), Job(3.0)
    for job, lanes in ((other, (OTHER,)), (left, (LANE, OTHER))):
        begun = threading.Event()
        work = {lane: steps(job, 1, log, "waited") for lane in lanes}
        two_threads.submit(job, work | {lanes[0]: held(begun, go_on)})
        assert begun.wait(30)
    two_threads.abandon(left)
    assert not left.finished.done()  # a lane may be reading its file
    go_on.set()
    with pytest.raises(Unwanted):
        wait(left.finished)
    wait(other.finished)
    assert not log


def test_a_job_that_fails_in_one_lane_does_not_wait_for_its_turn_in_the_other(
    two_threads: Scheduler,
) -> None:
    fail, go_on, log = threading.Event(), threading.Event(), list[str]()
    failing, other = Job(3.0), Job(3.0)
    at_work = threading.Event()
    two_threads.submit(other, {OTHER: held(at_work, go_on)})
    assert at_work.wait(30)
    begun = threading.Event()
    broken = {LANE: held(begun, fail, "broken"), OTHER: steps(failing, 1, log, "waited")}
    two_threads.submit(failing, broken)
    assert begun.wait(30)
    fail.set()
    with pytest.raises(RuntimeError, match="broken"):
        wait(failing.finished)
    go_on.set()
    wait(other.finished)
    assert not log


def test_the_expected_wait_leaves_out_whom_nobody_waits_for(one_thread: Scheduler) -> None:
    at_work, go_on, long = threading.Event(), threading.Event(), Job(LONG_S)
    one_thread.submit(long, {LANE: held(at_work, go_on)})
    assert at_work.wait(30)
    assert one_thread.expected_wait_s(2 * LONG_S, [LANE]) > 0
    one_thread.abandon(long)
    assert one_thread.expected_wait_s(2 * LONG_S, [LANE]) == 0
    go_on.set()


def test_a_job_that_is_left_ends_at_its_next_step(one_thread: Scheduler) -> None:
    job = Job(LONG_S)
    began, closed = threading.Event(), threading.Event()

    one_thread.submit(job, {LANE: endless(began, closed)})
    assert began.wait(30)
    one_thread.abandon(job)
    with pytest.raises(Unwanted):
        wait(job.finished)
    assert closed.wait(30)


def test_stopping_ends_what_is_at_work_and_takes_no_more() -> None:
    scheduler = Scheduler([[LANE]])
    scheduler.start()
    job, began = Job(LONG_S), threading.Event()

    def endless() -> Steps:
        while True:
            began.set()
            yield 0.0

    scheduler.submit(job, {LANE: endless()})
    assert began.wait(30)
    scheduler.stop()
    with pytest.raises(Unwanted):
        wait(job.finished)
    with pytest.raises(Unwanted):
        scheduler.submit(Job(1.0), {})


def test_the_expected_wait_counts_what_goes_first_by_how_fast_the_lanes_are() -> None:
    scheduler = Scheduler([[LANE], [OTHER]])  # not started: nothing gets done
    assert scheduler.expected_wait_s(LONG_S, [LANE]) == 0
    for duration_s in (LONG_S, 600.0, 30.0):
        job = Job(duration_s)
        scheduler.submit(job, {LANE: steps(job, 1, [], "")})
    behind_all = scheduler.expected_wait_s(2 * LONG_S, [LANE])
    behind_the_short = scheduler.expected_wait_s(700.0, [LANE])
    behind_the_clip = scheduler.expected_wait_s(3.0, [LANE])
    assert behind_the_short == pytest.approx(behind_all * 630 / 2430)
    assert behind_the_clip == pytest.approx(behind_all * 30 / 2430)
    assert scheduler.expected_wait_s(2 * LONG_S, [OTHER]) == 0
    assert scheduler.expected_wait_s(2 * LONG_S, [LANE, OTHER]) == behind_all


def test_the_expected_wait_learns_how_slow_the_device_is(one_thread: Scheduler) -> None:
    def slow(job: Job) -> Steps:
        yield 0.0  # the first step may have loaded a model, and counts for nothing
        for second in range(1, 11):
            time.sleep(0.1)
            yield job.duration_s * second / 10

    def wait_behind_long() -> float:
        long, at_work, go_on = Job(LONG_S), threading.Event(), threading.Event()

        def blocked() -> Steps:
            at_work.set()
            assert go_on.wait(30)
            yield LONG_S

        one_thread.submit(long, {LANE: blocked()})
        assert at_work.wait(30)
        expected_s = one_thread.expected_wait_s(2 * LONG_S, [LANE])
        go_on.set()
        wait(long.finished)
        return expected_s

    before_s = wait_behind_long()
    job = Job(1.0)
    one_thread.submit(job, {LANE: slow(job)})
    wait(job.finished)
    assert wait_behind_long() > before_s * 1.3


def test_the_expected_wait_forgets_how_fast_the_device_was(
    one_thread: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(scheduling, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def steady(takes_s: float) -> Steps:
        for step in range(1, 501):
            clock[0] += takes_s
            yield 10.0 * step

    for takes_s in (1.0, 10.0):
        job = Job(5000.0)
        one_thread.submit(job, {LANE: steady(takes_s)})
        wait(job.finished)
    waiting, at_work, go_on = Job(100.0), threading.Event(), threading.Event()

    def blocked() -> Steps:
        at_work.set()
        assert go_on.wait(30)
        yield 100.0

    one_thread.submit(waiting, {LANE: blocked()})
    assert at_work.wait(30)
    # The device takes a second for a second now; on average over all it took half of that.
    assert one_thread.expected_wait_s(LONG_S, [LANE]) == pytest.approx(100.0, rel=0.05)
    go_on.set()
    wait(waiting.finished)


def test_progress_is_the_mean_of_a_jobs_lanes(two_threads: Scheduler) -> None:
    job = Job(100.0)
    looked, go_on = threading.Event(), threading.Event()

    def slow() -> Steps:
        yield 50.0
        looked.set()
        assert go_on.wait(30)

    two_threads.submit(job, {LANE: slow(), OTHER: slow()})
    assert looked.wait(30)
    assert 25.0 <= job.done_s <= 50.0
    go_on.set()
    wait(job.finished)
    assert job.done_s == 100.0
    assert two_threads.at_hand is None


def test_the_value_of_steps_is_what_they_return() -> None:
    def counted() -> Iterator[int]:
        yield 1
        yield 2

    def returning() -> Steps:
        yield from (float(number) for number in counted())
        return None

    assert value_of(returning()) is None

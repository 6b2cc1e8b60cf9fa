"""Whose step is next: many requests share the device a step at a time.

A request's work is cut into short steps (a batch of chunks, some pieces of voice), so that a clip
never waits for the whole of a long recording. Three rules choose, in this order:

1. Work that was passed over for AGEING_S gets one step; never twice in a row while anything else
   waits, so that many old requests cannot hold up a clip either.
2. Clips, recordings under CLIP_S, in the order they came.
3. The recording of which the least is left to do.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from images.serving.memory import trim

T = TypeVar("T")

Steps = Generator[float, None, None]
"""Work that yields after each step how many seconds of the audio are done."""

CLIP_S = 60.0
AGEING_S = 20.0
_FIRST_GUESS = 0.05
"""Seconds of work for a second of audio, until there is something to go by."""
_GUESS_WEIGHT_S = 30.0
"""How much audio the first guess weighs as much as."""
_FADING = 0.99
"""What a step's measurement weighs after one more step."""


class Unwanted(Exception):  # noqa: N818 - it is no error
    """The client has gone, or the server stops: the work ends at the next step."""


@dataclass(eq=False, slots=True)
class Job:
    """One request's work.

    Attributes:
        duration_s: the length of its audio, in seconds.
        finished: done when no lane works on it any more, with the error that ended it, if any.
        unwanted: set once nobody waits for the answer.
    """

    duration_s: float
    finished: Future[None] = field(default_factory=Future)
    unwanted: threading.Event = field(default_factory=threading.Event)
    tasks: list[Task] = field(default_factory=list)
    error: BaseException | None = None
    stage: str = "waiting"
    """The lane of its last step, or waiting."""

    @property
    def is_clip(self) -> bool:
        """Whether it goes before the long ones."""
        return self.duration_s < CLIP_S

    @property
    def done_s(self) -> float:
        """How much of its audio is done, over all its lanes, in seconds."""
        return sum(task.done_s for task in self.tasks) / len(self.tasks) if self.tasks else 0.0


@dataclass(eq=False, slots=True)
class Task:
    """What a job has to do in one lane."""

    job: Job
    lane: str
    steps: Steps
    served: float
    """When it had its last step, or came."""
    done_s: float = 0.0
    begun: bool = False
    """It had its first step, in which models may have been loaded: that tells no speed."""
    at_work: bool = False
    """Its thread is in the middle of a step, or about to begin one."""

    @property
    def left_s(self) -> float:
        """How much audio is still to be done, in seconds."""
        return max(0.0, self.job.duration_s - self.done_s)


class Scheduler:
    """Runs the steps of all jobs, one at a time in each thread.

    Args:
        threads: for each thread the lanes that it works for.
        before: called before each step; what it raises ends the job.
        translate: what becomes of an exception of a step.
    """

    def __init__(
        self,
        threads: Sequence[Sequence[str]],
        *,
        before: Callable[[], None] = lambda: None,
        translate: Callable[[Exception], Exception] = lambda error: error,
    ) -> None:
        self._before = before
        self._translate = translate
        self._changed = threading.Condition()
        self._tasks: list[Task] = []
        self._stopping = False
        self._speeds = {lane: _Speed() for lanes in threads for lane in lanes}
        self._threads = [
            threading.Thread(target=self._run, args=(frozenset(lanes),), name=lanes[0])
            for lanes in threads
        ]
        self._current = threading.local()
        self.steps = 0
        """How many steps were made; it only grows."""
        self.at_hand: tuple[Job, str] | None = None
        """Whose step was begun last, and in which lane; None when there is nothing to do."""

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all work at its next step, and take no more."""
        with self._changed:
            self._stopping = True
            for task in list(self._tasks):
                self.abandon(task.job)
            self._changed.notify_all()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._tasks

    def submit(self, job: Job, work: Mapping[str, Steps]) -> None:
        """Queue a job: for each lane its steps. `job.finished` tells when they are over."""
        with self._changed:
            if self._stopping:
                raise Unwanted
            now = time.monotonic()
            job.finished.set_running_or_notify_cancel()  # it ends by its tasks alone
            job.tasks = [Task(job, lane, steps, now) for lane, steps in work.items()]
            self._tasks += job.tasks
            self._changed.notify_all()

    async def do(self, job: Job, work: Mapping[str, Steps], gone: asyncio.Future[None]) -> None:
        """Do a job's work, whenever its steps have their turn.

        Args:
            job: an account of the work.
            work: for each lane its steps; they run in that lane's thread.
            gone: done once nobody wants the answer any more; the work then ends at its next step.

        Raises:
            Unwanted: nobody waits for the answer.
            ApiError: what a step's exception was translated to.
        """
        self.submit(job, work)
        gone.add_done_callback(lambda _: self.abandon(job))
        try:
            # Not `gone` as well: the job's file must stay as long as a lane reads it.
            await asyncio.wrap_future(job.finished)
        finally:
            self.abandon(job)  # the server may cancel this task, when it stops
            asyncio.get_running_loop().run_in_executor(None, trim)

    def abandon(self, job: Job) -> None:
        """Nobody waits for this job any more."""
        with self._changed:
            job.unwanted.set()
            self._end(job, Unwanted())

    def check(self) -> None:
        """For the middle of a step that takes long. Raises Unwanted where nobody waits for it."""
        job: Job | None = getattr(self._current, "job", None)
        if job is not None and job.unwanted.is_set():
            raise Unwanted

    def expected_wait_s(self, duration_s: float, lanes: Sequence[str]) -> float:
        """How long a job of this length would wait for its first steps, in seconds."""
        newcomer = Job(duration_s)
        with self._changed:
            waits = dict.fromkeys(lanes, 0.0)
            for task in (task for task in self._tasks if not task.job.unwanted.is_set()):
                goes_first = task.job.is_clip or not (newcomer.is_clip or task.left_s > duration_s)
                if task.lane in waits and goes_first:
                    waits[task.lane] += task.left_s * self._speeds[task.lane].work_per_audio
        if len(self._threads) == 1:
            return sum(waits.values())
        return max(waits.values(), default=0.0)

    def _run(self, lanes: frozenset[str]) -> None:
        aged = False
        while (chosen := self._wait(lanes, was_aged=aged)) is not None:
            task, aged = chosen
            self._step(task)

    def _wait(self, lanes: frozenset[str], *, was_aged: bool) -> tuple[Task, bool] | None:
        """The next task, and whether it is its age's turn; None when the scheduler stops."""
        with self._changed:
            while True:
                if mine := [task for task in self._tasks if task.lane in lanes]:
                    chosen = choose(mine, time.monotonic(), was_aged=was_aged)
                    chosen[0].at_work = True
                    return chosen
                if self._stopping:
                    return None
                self._changed.wait()

    def _step(self, task: Task) -> None:
        job = task.job
        began, before_s = time.monotonic(), task.done_s
        error: BaseException | None = None
        over = False
        try:
            self._before()
            self._current.job, job.stage, self.at_hand = job, task.lane, (job, task.lane)
            task.done_s = max(before_s, min(job.duration_s, next(task.steps)))
        except StopIteration:
            over = True
        except Exception as raised:  # noqa: BLE001 - it ends the job, not the thread
            error = raised if isinstance(raised, Unwanted) else self._translate(raised)
        with self._changed:
            now = time.monotonic()
            task.served, task.at_work = now, False
            self.steps += 1
            if task.begun:
                self._speeds[task.lane].note(now - began, task.done_s - before_s)
            task.begun = True
            if over:
                self._drop(task, None)
            if error := error or job.error or (Unwanted() if job.unwanted.is_set() else None):
                self._end(job, error)

    def _end(self, job: Job, error: BaseException) -> None:
        """A job ends here, but for what is in the middle of a step. The lock is held."""
        for task in job.tasks:
            if task in self._tasks and not task.at_work:
                self._drop(task, error)

    def _drop(self, task: Task, error: BaseException | None) -> None:
        """A task is over; with the last of them so is the job. The lock is held."""
        job = task.job
        self._tasks.remove(task)
        if error is None:
            task.done_s = job.duration_s
        else:
            job.error = job.error or error
            task.steps.close()
        if not self._tasks:
            self.at_hand = None
        self._changed.notify_all()
        if any(other in self._tasks for other in job.tasks):
            return
        if job.error is not None:
            job.finished.set_exception(job.error)
        else:
            job.finished.set_result(None)


def choose(tasks: Sequence[Task], now: float, *, was_aged: bool) -> tuple[Task, bool]:
    """The task that gets the next step, and whether it owes that to its age.

    Args:
        tasks: all that wait in these lanes; at least one.
        now: on the clock of `Task.served`.
        was_aged: whether the last step went to an aged task.
    """
    oldest = min(tasks, key=lambda task: task.served)
    if now - oldest.served >= AGEING_S and not (was_aged and len(tasks) > 1):
        return oldest, True
    clips = [task for task in tasks if task.job.is_clip]
    if clips:
        return clips[0], False
    # Of one job's lanes in one thread the one that is behind: its speakers wait for both.
    return min(tasks, key=lambda task: (task.job.duration_s - task.job.done_s, task.done_s)), False


@dataclass(slots=True)
class _Speed:
    """How fast a lane works, with what was long ago counting less."""

    work_s: float = _FIRST_GUESS * _GUESS_WEIGHT_S
    audio_s: float = _GUESS_WEIGHT_S

    @property
    def work_per_audio(self) -> float:
        return self.work_s / self.audio_s

    def note(self, work_s: float, audio_s: float) -> None:
        self.work_s = _FADING * self.work_s + work_s
        self.audio_s = max(1.0, _FADING * self.audio_s + audio_s)


def value_of(steps: Generator[Any, None, T]) -> T:
    """Take all steps of a generator here and now, and return what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value

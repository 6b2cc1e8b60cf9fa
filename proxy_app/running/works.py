"""Work, and those who follow it in its own process."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gevent
from gevent.event import Event as Signal

from proxy_app.errors import RETRY_SOON, ApiError
from proxy_app.errors.translations import as_api_error
from proxy_app.speech import Segment
from proxy_app.telemetry import Cost
from proxy_app.turns import let_others
from proxy_app.upstreams import Attributed, End, Event, Heard, Progress, Tell

LARGEST = 64 * 1024 * 1024
"""About how many bytes of events are kept, for those who come later."""
_OBJECT = 200
"""About how many a segment or a word takes besides its text."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done, once, for all who ask for it."""

    run: Callable[[Tell], End]
    """Is given what takes what becomes known on the way."""
    by: Callable[[], str]
    """The services that are at work, as x-served-by names them."""
    cost: Cost
    """Becomes right while it runs."""
    release: Callable[[], None]
    """Lets its files go, when it has ended, however it did; may be called twice."""


class Work:
    """A task in a greenlet of its own, and what it has told from the beginning.

    It goes as fast as the fastest of those who follow it takes what is told, at most one event
    ahead; while nobody follows it waits for nobody.

    Args:
        task: what is to be done; begins at once.
        deserted: is called when the last one leaves who has not got all of it.
        forget: is called once, when there is nothing any more to follow.
    """

    def __init__(
        self, task: Task, *, deserted: Callable[[Work], None], forget: Callable[[Work], None]
    ) -> None:
        self.task = task
        self.deserted_at: float | None = None
        """For whoever looks after it."""
        self.has_ended = False
        self._deserted = deserted
        self._forget = forget
        self._is_forgotten = False
        self._is_paid = False
        self._is_delivered = False
        """Somebody had all of it."""
        self._events: list[Event] = []
        self._size = 0
        self._error: ApiError | None = None
        self._followers: set[Here] = set()
        self._taken = Signal()
        self._greenlet = gevent.spawn(self._run)

    @property
    def is_followed(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self._followers)

    def follow(self) -> Here:
        """One more who is told all of it; to be closed."""
        follower = Here(self)
        self._followers.add(follower)
        self.deserted_at = None
        return follower

    def stop(self) -> None:
        """End it, running its `finally` blocks; nobody can follow it any more."""
        if not self.has_ended:
            self._error = ApiError(
                "The work on this recording was ended. Send it again.",
                status=503,
                code="work_ended",
                headers=RETRY_SOON,
            )
        self._be_forgotten()
        try:
            self._greenlet.kill()
        finally:  # whoever stops it may itself be killed, or run out of time, while it ends
            self._finish()

    def take_cost(self) -> Cost | None:
        """What it has cost, once it has ended, for the first who asks: one request pays."""
        if self._is_paid or not self.has_ended:
            return None
        self._is_paid = True
        return self.task.cost

    def after(self, count: int) -> Event | None:
        """The event after so many; None where there is none yet.

        Raises:
            ApiError: there will be none, because it failed.
        """
        if count < len(self._events):
            self._taken.set()
            return self._events[count]
        if self._error is not None:
            raise copy.copy(self._error)
        return None

    def leave(self, follower: Here) -> None:
        """One less."""
        if follower not in self._followers:
            return
        self._followers.remove(follower)
        self._is_delivered = self._is_delivered or follower.has_all
        self._taken.set()
        if self._followers or self._is_forgotten:
            return
        # An error is told to those who wait; who comes later wants it to be tried again.
        if self._error is not None or self._is_delivered:
            self._be_forgotten()
        else:
            self._deserted(self)

    def _run(self) -> None:
        try:
            self._keep(self.task.run(self._tell))
        except Exception as error:  # noqa: BLE001 - raised again, by those who follow
            self._error = as_api_error(error)
        self._finish()
        if self._error is not None and not self._followers:
            self._be_forgotten()

    def _finish(self) -> None:
        self.has_ended = True
        self.task.release()
        self._wake()

    def _tell(self, event: Event) -> None:
        with self.task.cost.held_up():
            while self._followers and max(it.taken for it in self._followers) < len(self._events):
                self._taken.clear()
                self._taken.wait()
        let_others()  # who talks fast, to nobody, would have the process to itself
        self._keep(event)
        self._wake()

    def _keep(self, event: Event) -> None:
        """Put it behind the others; how far the work was is of no use when it is known anew."""
        if isinstance(event, Progress) and self._events and isinstance(self._events[-1], Progress):
            self._events[-1] = event
            for follower in self._followers:
                follower.taken = min(follower.taken, len(self._events) - 1)
            return
        self._events.append(event)
        self._size += _size(event)
        if self._size > LARGEST:
            raise ApiError(
                "The speech service tells more of this recording than can be kept.",
                status=502,
                code="answer_too_long",
            )

    def _wake(self) -> None:
        for follower in self._followers:
            follower.news.set()

    def _be_forgotten(self) -> None:
        if not self._is_forgotten:
            self._is_forgotten = True
            self._forget(self)


class Here:
    """One who follows work of this process."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.taken = 0
        """How many events."""
        self.has_all = False
        self.news = Signal()

    @property
    def by(self) -> str:
        """Who is at work, or was the last to be."""
        return self._work.task.by()

    @property
    def cost(self) -> Cost | None:
        """What it has cost until now."""
        return self._work.task.cost

    def events(self) -> Iterator[Event]:
        """Everything from the beginning; who wants to have had all of it reads to the end.

        Raises:
            ApiError: the work failed.
        """
        while True:
            self.news.clear()
            while (event := self._work.after(self.taken)) is not None:
                self.taken += 1
                yield event
                if isinstance(event, End):
                    self.has_all = True
                    return
            self.news.wait()

    def take_cost(self) -> Cost | None:
        """As of Work."""
        return self._work.take_cost()

    def close(self) -> None:
        """Wait for it no more; harmless to repeat."""
        self._work.leave(self)


def _size(event: Event) -> int:
    match event:
        case Heard(segments) | Attributed(segments=segments):
            return sum(map(_size_of, segments))
    return _OBJECT


def _size_of(segment: Segment) -> int:
    words = sum(_OBJECT + len(word.text) for word in segment.words)
    logprobs = sum(_OBJECT + len(each.data) for each in segment.logprobs)
    return _OBJECT + len(segment.text) + words + logprobs

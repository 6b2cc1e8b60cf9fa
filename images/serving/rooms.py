"""How many requests may be in the house, and what one more is told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from images.serving.errors import ApiError
from images.serving.models import RETRY_AFTER_S

MAX_UPLOADS = 100
"""Half-sent uploads take no place in the queue; so many may hang before new ones are refused."""


class Room:
    """A place that holds so many requests. Only the event loop goes in and out.

    Args:
        limit: how many.
        refusal: what one more is told, given how many there are.
    """

    def __init__(self, limit: int, refusal: Callable[[int], ApiError]) -> None:
        self._limit = limit
        self._refusal = refusal
        self.count = 0

    def refuse_when_full(self) -> None:
        """Raises ApiError where there is no room."""
        if self.count >= self._limit:
            raise self._refusal(self.count)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be in the room; raises ApiError where there is none."""
        self.refuse_when_full()
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


def room_for_uploads() -> Room:
    """For what is being read, before it has a place in the queue; one more is told 503."""

    def refusal(count: int) -> ApiError:
        message = f"{count} uploads are being read already. Try again later."
        return ApiError(503, "too_many_uploads", message, retry_after_s=RETRY_AFTER_S)

    return Room(MAX_UPLOADS, refusal)


def room_for_requests(waiting: int, setting: str) -> Room:
    """For the request at work and those that wait; one more is told 429.

    Args:
        waiting: how many may wait.
        setting: the name of the setting that says so.
    """

    def refusal(count: int) -> ApiError:
        message = f"{count} requests are here already ({setting}). Try again later."
        return ApiError(429, "queue_full", message, retry_after_s=RETRY_AFTER_S)

    return Room(waiting + 1, refusal)

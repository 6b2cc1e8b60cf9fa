"""A request for a transcript: answered at once, or as it becomes known.

The work goes on for a while when its client hangs up, and a request that asks for the same gets
what is worked on already (proxy_app/running).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flask import request

from proxy_app.api.relay import Relay, while_connected
from proxy_app.api.same import HEADER, ticket
from proxy_app.api.uploads import SpoolingRequest
from proxy_app.errors import DO_NOT_RETRY, RETRY_SOON, ApiError
from proxy_app.gateway import current
from proxy_app.running import Follower, LostError, OtherContentError, Task
from proxy_app.speech import Transcript
from proxy_app.telemetry import Account, Cost
from proxy_app.telemetry.account import KEY
from proxy_app.transcribing.asking import routes_for
from proxy_app.transcribing.attempts import Attempts
from proxy_app.upstreams import End, Event, Options, Progress, Tell

_LONGEST_WARNING = 1000


@dataclass(frozen=True, slots=True)
class Served:
    """A transcript and who made it."""

    transcript: Transcript
    by: str
    """The services, as x-served-by names them."""
    answer: dict[str, Any]
    """What they answered besides, for what a transcript has no place for."""

    @property
    def headers(self) -> dict[str, str]:
        """What an answer says of it besides: who made it, and what had no effect."""
        told = self.answer.get("warnings")
        said = " ".join(str(one) for one in told) if isinstance(told, list) else ""
        warnings = "".join(it if " " <= it <= "~" else "?" for it in said[:_LONGEST_WARNING])
        return {"x-served-by": self.by} | ({"x-speech-warnings": warnings} if warnings else {})


@dataclass(frozen=True, slots=True)
class Followed:
    """A transcript that is being made, and who makes it."""

    events: Relay[Event]
    """The last event is an End."""
    by: Callable[[], str]
    """The services that are at work, as x-served-by names them."""
    close: Callable[[], None]
    """To be called by whoever reads the events."""


def transcribe(upload: Path, options: Options, *, speakers: bool) -> Served:
    """What was said, and by whom where that is asked for.

    Raises:
        ApiError: what the client gets instead.
    """
    shared = _Shared(upload, options, speakers=speakers, streamed=False)
    try:
        end = while_connected(request.environ, shared.last)
    finally:
        shared.close()
    return Served(end.transcript, shared.by, end.answer)


def follow(upload: Path, options: Options, *, speakers: bool) -> Followed:
    """The same as it becomes known; returns at once, and the first event may take minutes.

    Raises:
        ApiError: nobody can work on it; whatever else `transcribe` raises, the events do.
    """
    shared = _Shared(upload, options, speakers=speakers, streamed=True)
    relay: Relay[Event] = Relay(request.environ, shared.tell)

    def close() -> None:
        relay.close()
        shared.close()

    return Followed(relay, lambda: shared.by, close)


class _Shared:
    """A request's part in the work that it asks for, begun by it or by another one."""

    def __init__(self, upload: Path, options: Options, *, speakers: bool, streamed: bool) -> None:
        self._gateway = current()
        self._account: Account = request.environ[KEY]
        self._upload = upload
        self._options = options
        self._speakers = speakers
        self._streamed = streamed
        spooled = cast(SpoolingRequest, request)
        spooled.keep()
        self._spool_path, self._let_files_go = spooled.spool_path, spooled.end
        self._is_begun = False
        """Here: the work has the files then, and removes them."""
        self._is_closed = False
        self._joined_at = time.monotonic()
        try:
            self._tiers = routes_for(self._gateway, options, speakers=speakers)
            self._ticket = ticket()
            self._follower = self._join()
        except BaseException:
            self._let_files_go()
            raise
        finally:
            spooled.arrived()

    @property
    def by(self) -> str:
        """The services that are at work, or were the last to be."""
        return self._follower.by

    def last(self) -> End:
        """The end, once it is there.

        Raises:
            ApiError: there will be none.
        """
        events: list[Event] = []
        self.tell(events.append)
        end = events[-1]
        assert isinstance(end, End)
        return end

    def tell(self, put: Tell) -> None:
        """Hand on all events.

        Where the process at work is killed before it has told a word, the work begins anew.

        Raises:
            ApiError: the work failed.
        """
        has_words = False
        while True:
            try:
                for event in self._follower.events():
                    has_words = has_words or not isinstance(event, Progress)
                    if self._is_begun:
                        self._account.pay(self._cost)  # until now: the answer's head says it
                    put(event)
            except LostError:
                if has_words:
                    raise _lost() from None
                self._follower.close()
                self._follower = self._join()
            else:
                return

    def close(self) -> None:
        """Take no more part in it, and bear the costs; harmless to repeat."""
        if self._is_closed:
            return
        self._is_closed = True
        self._follower.close()
        waited = Cost(upstream_s=time.monotonic() - self._joined_at)
        self._account.pay(self._follower.take_cost() or waited)
        if not self._is_begun:
            self._let_files_go()

    def _join(self) -> Follower:
        try:
            return self._gateway.running.join(self._ticket, self._begin)
        except OtherContentError:
            raise ApiError(
                f"This {HEADER} was sent with another request, which is still being worked on: "
                "each request needs one of its own.",
                status=422,
                code="idempotency_key_reused",
                param=HEADER,
                headers=DO_NOT_RETRY,
            ) from None

    def _begin(self) -> Task:
        self._is_begun = True
        self._cost = Cost()
        release = self._let_files_go
        attempts = Attempts(
            self._gateway, self._tiers, self._options, self._spool_path("audio.wav"), release,
            cost=self._cost, speakers=self._speakers,
        )  # fmt: skip
        upload, streamed = self._upload, self._streamed
        return Task(
            run=lambda tell: attempts.run(upload, tell if streamed else None),
            by=lambda: attempts.by,
            cost=self._cost,
            release=release,
        )


def _lost() -> ApiError:
    return ApiError(
        "The process that worked on this recording was ended. Send it again.",
        status=503,
        code="work_ended",
        headers=RETRY_SOON,
    )

"""A request for a transcript: answered at once, or as it becomes known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flask import request

from proxy_app.api.relay import Relay, while_connected
from proxy_app.api.uploads import SpoolingRequest
from proxy_app.gateway import current
from proxy_app.speech import Transcript
from proxy_app.telemetry.account import KEY
from proxy_app.transcribing.asking import routes_for
from proxy_app.transcribing.attempts import Attempts
from proxy_app.upstreams import Event, Options

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
    def warnings(self) -> str:
        """What had no effect, as a header has it; empty for nothing."""
        told = self.answer.get("warnings")
        said = " ".join(str(one) for one in told) if isinstance(told, list) else ""
        return "".join(it if " " <= it <= "~" else "?" for it in said[:_LONGEST_WARNING])


@dataclass(frozen=True, slots=True)
class Followed:
    """A transcript that is being made, and who makes it."""

    events: Relay[Event]
    """To be closed by whoever reads it; the last event is an End."""
    by: Callable[[], str]
    """The services that are at work, as x-served-by names them."""


def transcribe(upload: Path, options: Options, *, speakers: bool) -> Served:
    """What was said, and by whom where that is asked for.

    Raises:
        ApiError, AudioError, QueueFullError, UpstreamError: each carries what the client gets.
    """
    attempts = _attempts(options, speakers=speakers)
    end = while_connected(request.environ, lambda: attempts.run(upload, None))
    return Served(end.transcript, attempts.by, end.answer)


def follow(upload: Path, options: Options, *, speakers: bool) -> Followed:
    """The same as it becomes known; returns at once, and the first event may take minutes.

    Raises:
        ApiError: nobody can work on it; whatever else `transcribe` raises, the events do.
    """
    attempts = _attempts(options, speakers=speakers)

    def work(put: Callable[[Event], None]) -> None:
        put(attempts.run(upload, put))

    return Followed(Relay(request.environ, work), lambda: attempts.by)


def _attempts(options: Options, *, speakers: bool) -> Attempts:
    """The work for this request; a file that nobody can work on is not decoded."""
    gateway = current()
    found = routes_for(gateway, options, speakers=speakers)
    spooled = cast(SpoolingRequest, request)
    wav, release = spooled.spool_path("audio.wav"), spooled.end
    account = request.environ[KEY]
    return Attempts(gateway, found, options, wav, release, account=account, speakers=speakers)

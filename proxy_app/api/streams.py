"""Answers that are sent while the work goes on: OpenAI's server-sent events, and NDJSON."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Protocol

from flask import Response

from proxy_app.api.relay import Relay
from proxy_app.api.transcribe import Followed
from proxy_app.errors import DO_NOT_RETRY, ApiError, ClientGoneError
from proxy_app.errors.translations import as_api_error
from proxy_app.speech import (
    Segment,
    TranscriptEvents,
    conversation_answer,
    to_conversation_segments,
)
from proxy_app.upstreams import Attributed, End, Event, Heard, Progress

HEARTBEAT_S = 15.0
"""The longest silence: proxies and clients give up on a connection that says nothing."""


class Rendering(Protocol):
    """How events look on the wire. One is made for each answer."""

    content_type: str

    def event(self, event: Event) -> bytes:
        """What is sent for an event; nothing for some."""

    def heartbeat(self) -> bytes:
        """What is sent where there is nothing to say."""

    def error(self, error: ApiError) -> bytes:
        """What is sent instead of the end."""


class OpenAIEvents:
    """`data:` lines as OpenAI sends them, and comments between, which its clients pass over.

    Args:
        known: speakers' names that stand as they are.
    """

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, known: Collection[str] = (), *, logprobs: bool = False) -> None:
        self._events = TranscriptEvents(known, logprobs=logprobs)
        self._with_logprobs = logprobs

    def event(self, event: Event) -> bytes:
        """Deltas of text, segments with speakers, the end; clients are not told of progress."""
        match event:
            case Heard(segments):
                if self._with_logprobs:
                    check_logprobs(segments)
                return sse(*self._events.deltas(segments))
            case Attributed(segments=segments):
                return sse(*self._events.segments(segments))
            case End(transcript):
                return sse(self._events.done(transcript)) + b"data: [DONE]\n\n"
        return b""

    def heartbeat(self) -> bytes:
        """A comment."""
        return b": ping\n\n"

    def error(self, error: ApiError) -> bytes:
        """An object with an `error`, at which OpenAI's clients raise."""
        return sse({"error": error.body})


class ConversationLines:
    """One JSON object a line: progress, segments, speakers, and an end or an error."""

    content_type = "application/x-ndjson"

    def __init__(self) -> None:
        self._progress = Progress("waiting", 0.0, 0.0)

    def event(self, event: Event) -> bytes:
        """Every event is a line."""
        match event:
            case Progress():
                self._progress = event
                return self.heartbeat()
            case Heard(segments):
                return _line("segments", segments=to_conversation_segments(segments))
            case Attributed(until_s, segments):
                segments_ = to_conversation_segments(segments)
                return _line("speakers", until_s=until_s, segments=segments_)
            case End(transcript, answer):
                return _line("end", answer=conversation_answer(transcript, answer))

    def heartbeat(self) -> bytes:
        """The last progress once more."""
        last = self._progress
        return _line("progress", stage=last.stage, done_s=last.done_s, total_s=last.total_s)

    def error(self, error: ApiError) -> bytes:
        """What a plain answer would have had as its status, body and Retry-After."""
        retry_after = error.headers.get("Retry-After")
        return _line(
            "error",
            status=error.status,
            error=error.body,
            retry_after_s=None if retry_after is None else int(retry_after),
        )


def stream(followed: Followed, rendering: Rendering) -> Response:
    """Send what is known as it becomes known.

    It begins with the first event of which anything is sent, but no later than after HEARTBEAT_S:
    what goes wrong before has a status of its own, at which clients try again.

    Raises:
        Exception: what went wrong before it began, as the events raise it.
    """
    try:
        first, is_over = _first(followed.events, rendering)
    except BaseException:
        followed.close()
        raise
    rest = iter(()) if is_over else _rest(followed.events, rendering)
    response = Response(chain([first], rest), content_type=rendering.content_type)
    response.headers["x-served-by"] = followed.by()
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep it until it is complete
    response.call_on_close(followed.close)
    return response


def _first(events: Relay[Event], rendering: Rendering) -> tuple[bytes, bool]:
    """What is sent first, and whether it is all."""
    until = time.monotonic() + HEARTBEAT_S
    while (left := until - time.monotonic()) > 0 and (event := events.get(left)) is not None:
        data, is_over = rendering.event(event), isinstance(event, End)
        if data or is_over:
            return data, is_over
    return rendering.heartbeat(), False


def _rest(events: Relay[Event], rendering: Rendering) -> Iterator[bytes]:
    """Never silent for longer than HEARTBEAT_S."""
    event: Event | None = None
    silent_since = time.monotonic()
    try:
        while not isinstance(event, End):
            left = silent_since + HEARTBEAT_S - time.monotonic()
            event = events.get(max(0.0, left))
            data = rendering.event(event) if event else b""
            if data or time.monotonic() - silent_since >= HEARTBEAT_S:
                yield data or rendering.heartbeat()
                silent_since = time.monotonic()
    except ClientGoneError:
        return
    except Exception as error:  # noqa: BLE001 - the status is sent: this is all that can be told
        yield rendering.error(as_api_error(error))


def check_logprobs(segments: Iterable[Segment]) -> None:
    """See that whoever wrote these has told how sure it was, as was asked for.

    Raises:
        ApiError: 503; nothing is made up.
    """
    if all(segment.logprobs for segment in segments if segment.text):
        return
    raise ApiError(
        "The service that transcribed this gives no log probabilities; a WhisperX server of this "
        "version does. Leave `include[]` out.",
        status=503,
        code="logprobs_unavailable",
        param="include[]",
        headers=DO_NOT_RETRY,
    )


def sse(*events: Mapping[str, Any]) -> bytes:
    """Server-sent events of nothing but data."""
    return b"".join(b"data: " + _json(event) + b"\n\n" for event in events)


def _line(kind: str, **values: object) -> bytes:
    return _json({"type": kind, **values}) + b"\n"


def _json(value: Mapping[str, Any]) -> bytes:
    # A lone surrogate of a service's answer has no UTF-8.
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")

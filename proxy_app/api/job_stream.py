"""A job's events as server-sent events: `phase`, `log`, `status` and `end`.

Phases and lines of the log carry the event's number as their id, by which a client that comes back
goes on. A `status` is the job as it is, sent at the beginning and with every change; it has no id,
as the newest is all that counts. `end` is the last one, and the connection closes.

A watcher reads the file for itself, a piece at a time and only as fast as its client takes it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, request

from proxy_app.api.guard import still_admitted
from proxy_app.api.relay import Relay
from proxy_app.errors import ClientGoneError
from proxy_app.jobs import State
from proxy_app.jobs.events import EventReader
from proxy_app.jobs.watching import Watch, Watches
from proxy_app.store import Job

log = logging.getLogger(__name__)

PING_S = 15.0
"""Between two pings, and two looks whether who watches may still do so."""
_END = b""
_PING = b": ping\n\n"

Shown = Callable[[Job], dict[str, Any]]


def stream(watches: Watches, job_id: str, after: int, shown: Shown) -> Response:
    """Send a job's events from behind number `after`; it ends with the job, or with the client."""
    watch = watches.enter(job_id)
    relay: Relay[bytes] = Relay(request.environ, lambda put: _follow(watch, after, shown, put))
    pieces = _pieces(relay, still_admitted())
    response = Response(pieces, content_type="text/event-stream; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep it until it is complete
    response.call_on_close(relay.close)
    response.call_on_close(lambda: watches.leave(watch))
    return response


def _follow(watch: Watch, after: int, shown: Shown, put: Callable[[bytes], None]) -> None:
    reader = EventReader(watch.events, after)
    sent: dict[str, Any] | None = None
    try:
        while not watch.is_gone:
            # In this order: what is written before the job is over is read after that is known.
            news, job = watch.news, watch.job
            if sent is None:
                put(_event("status", sent := shown(job)))
            while found := reader.read():
                put(b"".join(_event(event["event"], event, event["id"]) for event in found))
            if (status := shown(job)) != sent:
                put(_event("status", sent := status))
            if State(job.state).is_over:
                put(_event("end", {"state": job.state, "reason": job.reason}))
                break
            news.wait()
        put(_END)
    finally:
        reader.close()


def _pieces(relay: Relay[bytes], goes_on: Callable[[], bool]) -> Iterator[bytes]:
    try:
        for data in relay.until(_END, every_s=PING_S, goes_on=goes_on):
            yield _PING if data is None else data
    except ClientGoneError:
        return
    except Exception:
        # The status is sent; a client that comes back goes on from where it was.
        log.exception("a stream of events broke off")


def _event(name: str, data: dict[str, Any], number: int | None = None) -> bytes:
    head = f"event: {name}\n" + (f"id: {number}\n" if number is not None else "")
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode(errors="replace")

"""What one request has cost, as it becomes known; at its end a line of the log, and the metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from proxy_app.telemetry.metrics import Metrics, reason_of

KEY = "speech.account"
"""Where it is in a request's environment."""
_FIRST_ERROR = 400


@dataclass(frozen=True, slots=True)
class End:
    """What the server knows at the end of a request."""

    status: int
    service: str
    """As x-served-by names it, else what had no place for it; empty if none."""
    total_s: float
    upload_s: float
    """Waiting for the bytes of the request's body."""
    bytes_in: int
    bytes_out: int


@dataclass(kw_only=True)
class Cost:
    """What work has taken of services. Times are seconds, and right once `until_now` was called.

    No moment counts twice: a service that waits for somebody to take what it has made is not at
    work, and who waits for a place has no service yet.
    """

    queue_s: float = 0.0
    upstream_s: float = 0.0
    audio_s: float | None = None
    tried: list[str] = field(default_factory=list)
    """The services that were asked, in order."""

    def __post_init__(self) -> None:
        # No fields: what is told to another process is over.
        self._now: Counter[str] = Counter()
        """What is done at the moment, and by how many."""
        self._since = time.monotonic()
        """Up to when the times are right."""

    @contextmanager
    def queued(self, place: AbstractContextManager[None]) -> Iterator[None]:
        """Count the wait for a place, which is held in the block."""
        with ExitStack() as held:
            with self._counted("queue"):
                held.enter_context(place)
            yield

    @contextmanager
    def at_service(self, name: str, place: AbstractContextManager[None]) -> Iterator[None]:
        """Count the wait for a place in a service, and what the service takes in the block."""
        if self.tried[-1:] != [name]:  # a text's pieces are said one by one
            self.tried.append(name)
        with self.queued(place), self._counted("service"):
            yield

    def held_up(self) -> AbstractContextManager[None]:
        """While somebody is to take what was made, and the service can do nothing."""
        return self._counted("held up")

    def working(self) -> AbstractContextManager[None]:
        """While something is done beside the answer."""
        return self._counted("work")

    @property
    def is_open(self) -> bool:
        """Whether a service is at work, or waited for."""
        return bool(self._now["queue"] or self._now["service"])

    def until_now(self) -> None:
        """Count what has begun and not ended."""
        self._spend()

    def _spend(self) -> float:
        """Count the time since the last call; gives the part that no service has taken."""
        now = time.monotonic()
        spent, self._since = now - self._since, now
        if self._now["queue"]:
            self.queue_s += spent
        elif self._now["service"] and not self._now["held up"]:
            self.upstream_s += spent
        else:
            return spent
        return 0.0

    @contextmanager
    def _counted(self, what: str) -> Iterator[None]:
        self._spend()
        self._now[what] += 1
        try:
            yield
        finally:
            self._spend()
            self._now[what] -= 1

    def count(self, metrics: Metrics, service: str, *, is_good: bool) -> None:
        """Count what it was, for the service that it ended with; empty for none."""
        for source, target in pairwise(self.tried):
            outcome = "ok" if is_good and target == self.tried[-1] else "failed"
            metrics.fallback.labels(source, target, outcome).inc()
        if self.tried and service:
            metrics.upstream.labels(service).observe(self.upstream_s)
        if self.audio_s and is_good:
            metrics.audio.labels(service).inc(self.audio_s)
            metrics.realtime.labels(service).observe(self.upstream_s / self.audio_s)


@dataclass
class Account(Cost):
    """What one request has cost."""

    metrics: Metrics
    request_id: str
    method: str
    path: str
    route: str
    """The path as it is declared: of these there are few."""
    key: str | None = None
    """The name of the API key that was sent."""
    first_byte_s: float | None = None
    refused_by: str = ""
    """What had no place for it, where that is no service."""
    send_s: float = 0.0
    """The client's reading, where nobody else was waited for."""
    _began: float = field(default_factory=time.monotonic)
    _others: Cost | None = None
    """What work costs that is not this request's alone."""
    _has_ended: bool = False

    def pay(self, cost: Cost) -> None:
        """Bear what work has cost that was done for this request, and perhaps for others."""
        cost.until_now()
        self.queue_s, self.upstream_s = cost.queue_s, cost.upstream_s
        self.audio_s, self.tried = cost.audio_s, list(cost.tried)
        self._others = cost

    def answer_began(self) -> None:
        """A service's answer has."""
        self.first_byte_s = time.monotonic() - self._began

    def sends(self, *, now: bool) -> None:
        """Whether the client is to take a piece of the answer now, or has taken it."""
        self._spend()
        self._now["sending"] = int(now)

    def end(self) -> None:
        """What is done from now on belongs to no request."""
        self._spend()
        self._has_ended = True

    def _spend(self) -> float:
        if self._has_ended:
            return 0.0
        rest = super()._spend()
        if not self._now["sending"]:
            return rest
        self.send_s += rest
        return 0.0

    def timing(self) -> str:
        """What is known when the answer's head is sent, as Server-Timing wants it (milliseconds).

        Of an answer that goes on while a service works its times are not.

        https://www.w3.org/TR/server-timing/
        """
        self.until_now()
        is_open = self.is_open or (self._others is not None and self._others.is_open)
        is_done = not is_open and bool(self.tried or not self._now["work"])
        known: list[tuple[str, float]] = []
        if is_done or (self.upstream_s and not self._now["queue"]):
            known.append(("queue", self.queue_s))
        if self.first_byte_s is not None:
            known.append(("first", self.first_byte_s))
        if is_done:
            known += [("upstream", self.upstream_s), ("total", self.elapsed_s)]
        return ", ".join(f"{name};dur={value * 1000:.1f}" for name, value in known)

    @property
    def elapsed_s(self) -> float:
        """Since the request came."""
        return time.monotonic() - self._began

    def settle(self, end: End) -> dict[str, Any]:
        """Count it; gives its line of the log."""
        self.end()
        own_s = end.total_s - end.upload_s - self.queue_s - self.send_s
        if self._others is not None:  # it also counts while the client reads
            self.upstream_s = min(self.upstream_s, max(0.0, own_s))
        overhead_s = max(0.0, own_s - self.upstream_s)
        self._count(end, overhead_s)
        return {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": "error" if end.status >= 500 else "info",  # noqa: PLR2004 - HTTP's classes
            "request_id": self.request_id,
            "key": self.key,
            "method": self.method,
            "path": self.path,
            "route": self.route,
            "status": end.status,
            "service": end.service or None,
            "tried": self.tried,
            "bytes_in": end.bytes_in,
            "bytes_out": end.bytes_out,
            "audio_s": self.audio_s and round(self.audio_s, 3),
            "total_ms": _ms(end.total_s),
            "upload_ms": _ms(end.upload_s),
            "queue_ms": _ms(self.queue_s),
            "upstream_ms": _ms(self.upstream_s),
            "send_ms": _ms(self.send_s),
            "first_byte_ms": _ms(self.first_byte_s),
            "overhead_ms": _ms(overhead_s),
        }

    def _count(self, end: End, overhead_s: float) -> None:
        metrics, service = self.metrics, end.service
        metrics.requests.labels(self.route, service, str(end.status)).inc()
        metrics.duration.labels(self.route).observe(end.total_s)
        metrics.overhead.labels(self.route).observe(overhead_s)
        if end.bytes_in:
            metrics.uploads.labels(self.route).inc(end.bytes_in)
        if reason := reason_of(end.status):
            metrics.rejected.labels(reason).inc()
        if self.first_byte_s is not None:
            metrics.first_byte.labels(service).observe(self.first_byte_s)
        self.count(metrics, service, is_good=end.status < _FIRST_ERROR)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)

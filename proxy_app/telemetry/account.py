"""What one request has cost, as it becomes known; at its end a line of the log, and the metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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
    """As x-served-by names it; empty if none."""
    total_s: float
    upload_s: float
    """Waiting for the bytes of the request's body."""
    bytes_in: int
    bytes_out: int


@dataclass
class Account:
    """What one request has cost. Times are seconds."""

    metrics: Metrics
    request_id: str
    method: str
    path: str
    route: str
    """The path as it is declared: of these there are few."""
    key: str | None = None
    """The name of the API key that was sent."""
    queue_s: float = 0.0
    upstream_s: float = 0.0
    audio_s: float | None = None
    first_byte_s: float | None = None
    tried: list[str] = field(default_factory=list)
    """The services that were asked, in order."""
    _began: float = field(default_factory=time.monotonic)

    @contextmanager
    def at_service(self, name: str, place: AbstractContextManager[None]) -> Iterator[None]:
        """Count the wait for a place in a service, and what the service takes in the block."""
        if self.tried[-1:] != [name]:  # a text's pieces are said one by one
            self.tried.append(name)
        began = held = time.monotonic()
        try:
            with place:
                held = time.monotonic()
                self.queue_s += held - began
                yield
        finally:
            self.upstream_s += time.monotonic() - held

    def answer_began(self) -> None:
        """A service's answer has."""
        self.first_byte_s = time.monotonic() - self._began

    def timing(self) -> str:
        """What is known when the answer's head is sent, as Server-Timing wants it (milliseconds).

        https://www.w3.org/TR/server-timing/
        """
        known = [("queue", self.queue_s), ("upstream", self.upstream_s), ("total", self.elapsed_s)]
        if self.first_byte_s is not None:
            known.insert(1, ("first", self.first_byte_s))
        return ", ".join(f"{name};dur={value * 1000:.1f}" for name, value in known)

    @property
    def elapsed_s(self) -> float:
        """Since the request came."""
        return time.monotonic() - self._began

    def settle(self, end: End) -> dict[str, Any]:
        """Count it; gives its line of the log."""
        overhead_s = max(0.0, end.total_s - end.upload_s - self.queue_s - self.upstream_s)
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
        for source, target in pairwise(self.tried):
            is_good = target == self.tried[-1] and end.status < _FIRST_ERROR
            metrics.fallback.labels(source, target, "ok" if is_good else "failed").inc()
        if self.tried and service:
            metrics.upstream.labels(service).observe(self.upstream_s)
        if self.first_byte_s is not None:
            metrics.first_byte.labels(service).observe(self.first_byte_s)
        if self.audio_s and end.status < _FIRST_ERROR:
            metrics.audio.labels(service).inc(self.audio_s)
            metrics.realtime.labels(service).observe(self.upstream_s / self.audio_s)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)

"""What is counted. Labels have few values: routes, services, statuses, never what a client sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Counter, Histogram

_LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 150, 300, 600, 1800, 3600)
_SHORT = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_FACTORS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_FIRST_ERROR = 400
_GONE = 499


class Metrics:
    """The counters of one process; shared.join says where they are kept.

    Seconds are SI seconds, sizes are bytes. A `service` is a registered name, `a+b` for a pair, or
    empty where no service was asked.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "speech_requests", "Requests that were answered.", ("route", "service", "code"),
            registry=registry,
        )  # fmt: skip
        self.duration = Histogram(
            "speech_request_duration_seconds", "From a request's head to its answer's end.",
            ("route",), buckets=_LONG, registry=registry,
        )  # fmt: skip
        self.first_byte = Histogram(
            "speech_first_byte_seconds", "From a request's head to the first byte of an answer.",
            ("service",), buckets=_LONG, registry=registry,
        )  # fmt: skip
        self.upstream = Histogram(
            "speech_upstream_duration_seconds", "What services took of it.",
            ("service",), buckets=_LONG, registry=registry,
        )  # fmt: skip
        self.overhead = Histogram(
            "speech_overhead_seconds", "The rest: neither upload, nor queue, nor service.",
            ("route",), buckets=_SHORT, registry=registry,
        )  # fmt: skip
        self.queue = Histogram(
            "speech_queue_duration_seconds", "Waiting for a place in a service.",
            ("service",), buckets=_LONG, registry=registry,
        )  # fmt: skip
        self.audio = Counter(
            "speech_audio_seconds", "Audio that was transcribed.", ("service",), registry=registry
        )
        self.realtime = Histogram(
            "speech_realtime_factor", "What a service took for a second of audio.", ("service",),
            buckets=_FACTORS, registry=registry,
        )  # fmt: skip
        self.fallback = Counter(
            "speech_fallback", "Requests that went to another service when one had failed.",
            ("from", "to", "outcome"), registry=registry,
        )  # fmt: skip
        self.uploads = Counter(
            "speech_upload_bytes", "Bytes of requests' bodies.", ("route",), registry=registry
        )
        self.rejected = Counter(
            "speech_rejected", "Requests that were answered with an error.", ("reason",),
            registry=registry,
        )  # fmt: skip
        self.probes = Counter(
            "speech_probes", "Deep probes of a service.", ("service", "outcome"), registry=registry
        )
        self.restarts = Counter(
            "speech_restarts", "Restarts, whoever made them.", ("service", "by"), registry=registry
        )

    @contextmanager
    def waiting(self, service: str) -> Iterator[None]:
        """Measure a wait for a place in a service."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.queue.labels(service).observe(time.monotonic() - began)


def reason_of(status: int) -> str | None:
    """An error's status in words; None of what is no error."""
    if status < _FIRST_ERROR:
        return None
    if status == _GONE:
        return "client_closed_request"
    try:
        return HTTPStatus(status).name.lower()
    except ValueError:
        return "other"

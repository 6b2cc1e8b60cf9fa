"""What is read when somebody asks for metrics, and counted nowhere: how everything is now."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from proxy_app import __version__
from proxy_app.services import ENCODERS, Service
from proxy_app.services.health import (
    ABSENT,
    GIVEN_UP,
    READY,
    RESTARTING,
    STOPPED,
    SUSPECT,
    UNREACHABLE,
    WARMING,
)
from proxy_app.store import SchemaError
from proxy_app.watch.records import RESTARTS

if TYPE_CHECKING:
    from proxy_app.gateway import Gateway

log = logging.getLogger(__name__)

STATES = (ABSENT, STOPPED, WARMING, READY, SUSPECT, RESTARTING, GIVEN_UP, UNREACHABLE)


class Gauges(Collector):
    """How services, places and jobs are at the moment."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """Look."""
        yield InfoMetricFamily("speech_build", "The version.", {"version": __version__})
        services = self._gateway.registry.read().services
        yield from self._of_services(services)
        answers = GaugeMetricFamily("speech_database_up", "Whether the database answers.")
        try:
            found = list(self._of_database(services))
        except (SQLAlchemyError, SchemaError) as error:
            log.warning("the database does not answer: %s", type(error).__name__)
            found = []
        answers.add_metric([], float(bool(found)))
        yield from (answers, *found)

    def _of_services(self, services: tuple[Service, ...]) -> Iterator[Metric]:
        gateway = self._gateway
        state = GaugeMetricFamily(
            "speech_service_state", "1 for the state that a service is in.",
            labels=("service", "kind", "state"),
        )  # fmt: skip
        inflight = GaugeMetricFamily(
            "speech_inflight",
            "Requests that a service, or an encoder, has of all workers.",
            labels=("service",),
        )
        depth = GaugeMetricFamily(
            "speech_queue_depth", "Requests that wait for a place in a service, or for an encoder.",
            labels=("service",),
        )  # fmt: skip
        watched = GaugeMetricFamily("speech_watched", "Whether the watch process lives.")
        watched.add_metric([], float(gateway.reports.is_watched()))
        for service, health in zip(services, gateway.health.of_all(services), strict=True):
            verdict = gateway.reports.verdict(service.name)
            its = verdict.state if verdict else health.state
            for one in STATES:
                state.add_metric((service.name, service.kind, one), float(one == its))
        for name in (*(service.name for service in services), ENCODERS):
            inflight.add_metric((name,), gateway.places.held(name))
            depth.add_metric((name,), gateway.places.waiting(name))
        yield from (state, inflight, depth, watched)

    def _of_database(self, services: tuple[Service, ...]) -> Iterator[Metric]:
        gateway = self._gateway
        good = GaugeMetricFamily(
            "speech_probe_success", "Whether the last deep probe was good.", labels=("service",)
        )
        took = GaugeMetricFamily(
            "speech_probe_duration_seconds", "What it took.", labels=("service",)
        )
        left = GaugeMetricFamily(
            "speech_restart_budget_remaining", "Restarts that are left.", labels=("service",)
        )
        restarts_left = gateway.records.restarts_left()
        states = gateway.records.states()
        for service in services:
            left.add_metric((service.name,), restarts_left.get(service.name, RESTARTS))
            found = states.get(service.name)
            if found is not None and found.last_check:
                good.add_metric((service.name,), float(found.last_check["ok"]))
                took.add_metric((service.name,), found.last_check["took_s"])
        jobs = GaugeMetricFamily("speech_jobs_kept", "Jobs that are kept.", labels=("state",))
        for state, number in gateway.room.jobs.counts().items():
            jobs.add_metric((state,), number)
        yield from (good, took, left, jobs)

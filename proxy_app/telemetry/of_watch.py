"""The watch process's part of the metrics: its probes and restarts, counted as they happen."""

from __future__ import annotations

from proxy_app.services import Service
from proxy_app.store import Store
from proxy_app.telemetry.metrics import Metrics
from proxy_app.watch.probing import Check, Found, Prober
from proxy_app.watch.records import Records

FAILURES = frozenset(Found) - {Found.GOOD, Found.BUSY}


class CountedProber:
    """A prober whose failures are counted; a service that has no room has not failed."""

    def __init__(self, prober: Prober, metrics: Metrics) -> None:
        self._prober = prober
        self._metrics = metrics

    def __call__(self, service: Service) -> Check:
        """Probe a service."""
        check = self._prober(service)
        if check.found in FAILURES:
            self._metrics.probe_failures.labels(service.name, check.found.value).inc()
        return check


class CountedRecords(Records):
    """Records whose restarts are counted."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        super().__init__(store)
        self._metrics = metrics

    def add_restart(self, *names: str, by: str) -> None:
        """Count a restart."""
        super().add_restart(*names, by=by)
        for name in names:
            self._metrics.restarts.labels(name, by).inc()

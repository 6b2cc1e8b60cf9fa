"""The dispatcher's part of the metrics: how jobs end, whoever ended them."""

from __future__ import annotations

from proxy_app.jobs.ledger import Jobs
from proxy_app.jobs.states import State
from proxy_app.telemetry.metrics import Metrics


class CountedEnds:
    """Counts the ends of jobs that it has seen before they ended."""

    def __init__(self, jobs: Jobs, metrics: Metrics) -> None:
        self._jobs = jobs
        self._metrics = metrics
        self._active: frozenset[str] = frozenset()
        for state in State:
            if state.is_over:
                metrics.jobs.labels(state.value)  # so that the first one is an increase, too

    def look(self) -> None:
        """See which have ended since the last look."""
        active = self._jobs.active()
        for state in self._jobs.states_of(self._active - active):
            self._metrics.jobs.labels(state).inc()
        self._active = active

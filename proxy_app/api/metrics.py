"""/metrics, for Prometheus: of all workers, whichever is asked."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from proxy_app.gateway import current
from proxy_app.telemetry import shared
from proxy_app.telemetry.gauges import Gauges

bp = Blueprint("metrics", __name__)


@bp.get("/metrics")
def metrics() -> Response:
    """Counters, durations and states in Prometheus' text format."""
    gateway = current()
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    counted = shared.of_all(Path(folder)) if folder else gateway.metrics.registry
    gauges = CollectorRegistry()
    gauges.register(Gauges(gateway))
    text = generate_latest(counted) + generate_latest(gauges)
    return Response(text, content_type=CONTENT_TYPE_LATEST)

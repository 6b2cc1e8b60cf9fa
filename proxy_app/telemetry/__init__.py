"""What the gateway tells of its work: metrics, and what each request has cost."""

from proxy_app.telemetry.account import Account, Cost
from proxy_app.telemetry.metrics import Metrics

__all__ = ["Account", "Cost", "Metrics"]

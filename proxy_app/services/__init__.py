"""Which services are registered, how they are, and how many requests each may have."""

from proxy_app.services.health import Health, HealthCache
from proxy_app.services.places import ENCODERS, Places, QueueFullError
from proxy_app.services.registry import ENVIRONMENT, Malformed, Registered, Registry, Service
from proxy_app.services.removed import Removed, digest
from proxy_app.services.reports import Failure, Reports, Verdict
from proxy_app.services.routes import (
    Alone,
    AnyRoute,
    Needs,
    Pair,
    Route,
    Speaking,
    Tiers,
    Words,
    each,
    longest_s,
    routes,
)
from proxy_app.services.spool import Spool
from proxy_app.services.suspects import Suspects

__all__ = [
    "ENCODERS",
    "ENVIRONMENT",
    "Alone",
    "AnyRoute",
    "Failure",
    "Health",
    "HealthCache",
    "Malformed",
    "Needs",
    "Pair",
    "Places",
    "QueueFullError",
    "Registered",
    "Registry",
    "Removed",
    "Reports",
    "Route",
    "Service",
    "Speaking",
    "Spool",
    "Suspects",
    "Tiers",
    "Verdict",
    "Words",
    "digest",
    "each",
    "longest_s",
    "routes",
]

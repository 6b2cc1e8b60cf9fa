"""Which services are registered, how they are, and how many requests each may have."""

from proxy_app.services.health import Health, HealthCache
from proxy_app.services.places import Places, QueueFullError
from proxy_app.services.registry import ENVIRONMENT, Malformed, Registered, Registry, Service
from proxy_app.services.spool import Spool

__all__ = [
    "ENVIRONMENT",
    "Health",
    "HealthCache",
    "Malformed",
    "Places",
    "QueueFullError",
    "Registered",
    "Registry",
    "Service",
    "Spool",
]

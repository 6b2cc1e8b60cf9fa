"""What outlives every process: a database, by SQLAlchemy, with versioned migrations."""

from proxy_app.store.engine import SchemaError, Store
from proxy_app.store.models import (
    ApiKey,
    AudioJob,
    Base,
    HostState,
    Job,
    LoginSession,
    LoginTry,
    ServiceRestart,
    ServiceSetting,
    ServiceState,
)

__all__ = [
    "ApiKey",
    "AudioJob",
    "Base",
    "HostState",
    "Job",
    "LoginSession",
    "LoginTry",
    "SchemaError",
    "ServiceRestart",
    "ServiceSetting",
    "ServiceState",
    "Store",
]

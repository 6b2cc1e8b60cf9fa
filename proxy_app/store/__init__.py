"""What outlives every process: a database, by SQLAlchemy, with versioned migrations."""

from proxy_app.store.engine import SchemaError, Store
from proxy_app.store.models import Base, Job, ServiceRestart, ServiceSetting, ServiceState

__all__ = [
    "Base",
    "Job",
    "SchemaError",
    "ServiceRestart",
    "ServiceSetting",
    "ServiceState",
    "Store",
]

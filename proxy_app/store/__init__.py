"""What outlives every process: a database, by SQLAlchemy, with versioned migrations."""

from proxy_app.store.engine import SchemaError, Store
from proxy_app.store.models import Base, Job

__all__ = ["Base", "Job", "SchemaError", "Store"]

"""What outlives every process: a database, by SQLAlchemy, with versioned migrations."""

from proxy_app.store.engine import SchemaError, Store
from proxy_app.store.models import Base, Job, LoginSession, LoginTry

__all__ = ["Base", "Job", "LoginSession", "LoginTry", "SchemaError", "Store"]

"""Work on hosts and services: what a job is, who runs it, and what it tells."""

from proxy_app.jobs.ledger import ActiveJobError, Jobs, NoJobError
from proxy_app.jobs.states import State

__all__ = ["ActiveJobError", "Jobs", "NoJobError", "State"]

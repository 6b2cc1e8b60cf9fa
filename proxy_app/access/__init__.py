"""Who may use the gateway: its password, the sessions that it opens, and how often it is tried."""

from proxy_app.access.password import (
    BrokenError,
    BusyError,
    Password,
    PasswordError,
    UnclaimedError,
)
from proxy_app.access.sessions import Sessions, Throttle, TooManyTriesError

__all__ = [
    "BrokenError",
    "BusyError",
    "Password",
    "PasswordError",
    "Sessions",
    "Throttle",
    "TooManyTriesError",
    "UnclaimedError",
]

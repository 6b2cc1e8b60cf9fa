"""Who may use the gateway: its password, the sessions that it opens, and the keys of programs."""

from proxy_app.access.keys import BadKeyError, Key, Keys, RateError, Rates
from proxy_app.access.password import (
    BrokenError,
    BusyError,
    Password,
    PasswordError,
    UnclaimedError,
)
from proxy_app.access.sessions import Sessions, Throttle, TooManyTriesError

__all__ = [
    "BadKeyError",
    "BrokenError",
    "BusyError",
    "Key",
    "Keys",
    "Password",
    "PasswordError",
    "RateError",
    "Rates",
    "Sessions",
    "Throttle",
    "TooManyTriesError",
    "UnclaimedError",
]

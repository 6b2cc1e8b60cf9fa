"""One adapter per API. This package is the only code that talks to a service."""

from proxy_app.upstreams.errors import (
    MisconfiguredError,
    RejectedError,
    TimeLimitError,
    UnavailableError,
    UpstreamError,
)
from proxy_app.upstreams.http import Client
from proxy_app.upstreams.probe import Probe
from proxy_app.upstreams.whisperx import Options, WhisperX

__all__ = [
    "Client",
    "MisconfiguredError",
    "Options",
    "Probe",
    "RejectedError",
    "TimeLimitError",
    "UnavailableError",
    "UpstreamError",
    "WhisperX",
]

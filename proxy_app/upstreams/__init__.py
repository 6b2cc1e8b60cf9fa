"""One adapter per API. This package is the only code that talks to a service."""

from proxy_app.upstreams.errors import (
    CutShortError,
    MisconfiguredError,
    NoTimesError,
    RejectedAudioError,
    RejectedContentError,
    RejectedError,
    RejectedTextError,
    TimeLimitError,
    UnavailableError,
    UpstreamError,
)
from proxy_app.upstreams.events import Attributed, End, Event, Heard, Progress
from proxy_app.upstreams.http import Client
from proxy_app.upstreams.openai import Answer, Limits, OpenAI
from proxy_app.upstreams.parakeet import Hearing, Parakeet, Recording, Tell
from proxy_app.upstreams.probe import Probe
from proxy_app.upstreams.side_by_side import SideBySide, Terms
from proxy_app.upstreams.voices import Speaks, Voices
from proxy_app.upstreams.whisperx import KnownSpeaker, Options, Vad, WhisperX

__all__ = [
    "Answer",
    "Attributed",
    "Client",
    "CutShortError",
    "End",
    "Event",
    "Heard",
    "Hearing",
    "KnownSpeaker",
    "Limits",
    "MisconfiguredError",
    "NoTimesError",
    "OpenAI",
    "Options",
    "Parakeet",
    "Probe",
    "Progress",
    "Recording",
    "RejectedAudioError",
    "RejectedContentError",
    "RejectedError",
    "RejectedTextError",
    "SideBySide",
    "Speaks",
    "Tell",
    "Terms",
    "TimeLimitError",
    "UnavailableError",
    "UpstreamError",
    "Vad",
    "Voices",
    "WhisperX",
]

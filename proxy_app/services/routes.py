"""Which services can do a request together, and how long a recording they take."""

from __future__ import annotations

from dataclasses import dataclass

from proxy_app.services.health import Health
from proxy_app.services.registry import Registered, Service

PIECE_S = 300.0
"""What a Parakeet server is given at once. It attends to all of it, in memory that grows with the
square: 11 minutes took one 20 GB (NVIDIA-NeMo/Speech#14111). Ours cuts by itself, and finer."""
STREAMING_S = 4 * 3600.0
OFFLINE_S = 480.0
"""Sortformer v1 looks at a whole recording at once; NVIDIA's later models stream."""


@dataclass(frozen=True, slots=True)
class Alone:
    """A WhisperX server, which does everything."""

    whisperx: Service

    @property
    def services(self) -> tuple[Service, ...]:
        """All that take part."""
        return (self.whisperx,)

    @property
    def name(self) -> str:
        """What clients are told in x-served-by."""
        return self.whisperx.name


@dataclass(frozen=True, slots=True)
class Pair:
    """A Parakeet server for the words and a Sortformer for the speakers, side by side."""

    parakeet: Service
    sortformer: Service

    @property
    def services(self) -> tuple[Service, ...]:
        """All that take part."""
        return self.parakeet, self.sortformer

    @property
    def name(self) -> str:
        """What clients are told in x-served-by."""
        return f"{self.parakeet.name}+{self.sortformer.name}"


@dataclass(frozen=True, slots=True)
class Speaking:
    """A service that has voices."""

    service: Service

    @property
    def services(self) -> tuple[Service, ...]:
        """All that take part."""
        return (self.service,)

    @property
    def name(self) -> str:
        """What clients are told in x-served-by."""
        return self.service.name


Route = Alone | Pair


def routes(registered: Registered, *, speakers: bool) -> tuple[Route, ...]:
    """The ways in which a recording can be transcribed, the best first.

    Args:
        registered: what there is.
        speakers: whether they are wanted; without, only WhisperX is asked.
    """
    found: list[Route] = []
    if whisperx := registered.first("speakers", "whisperx"):
        found.append(Alone(whisperx))
    parakeet = registered.first("asr", "parakeet")
    sortformer = registered.first("diarize", "sortformer")
    if speakers and parakeet and sortformer:
        found.append(Pair(parakeet, sortformer))
    return tuple(found)


def longest_s(service: Service, health: Health | None = None) -> float | None:
    """The longest recording that a service takes at once, in seconds; None where only it knows.

    What is registered goes before what the service says of itself, and that before what is known of
    its kind. A Parakeet's limit is no limit for the client: the gateway cuts what is longer.
    """
    if service.max_audio_s is not None:
        return service.max_audio_s
    if health is not None and health.max_audio_s is not None:
        return health.max_audio_s
    if service.api == "parakeet":
        return PIECE_S
    if service.api == "sortformer":
        model = (health and health.model) or service.model or ""
        is_offline = "sortformer" in model and "stream" not in model
        return OFFLINE_S if is_offline else STREAMING_S
    return None

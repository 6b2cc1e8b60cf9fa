"""Which services can do a request together, and how long a recording they take."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

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
class Words:
    """A Parakeet server by itself, where nobody asks who speaks."""

    parakeet: Service

    @property
    def services(self) -> tuple[Service, ...]:
        """All that take part."""
        return (self.parakeet,)

    @property
    def name(self) -> str:
        """What clients are told in x-served-by."""
        return self.parakeet.name


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


Route = Alone | Pair | Words
AnyRoute = TypeVar("AnyRoute", bound=Route | Speaking)
Tiers = tuple[tuple[AnyRoute, ...], ...]
"""Routes, the best first; those of a tier are as good as each other, and take turns."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request needs of those who do it."""

    speakers: bool = False
    """Who speaks."""
    whisper: bool = False
    """Something that WhisperX alone does, and that is a hint: an answer without it is one."""
    whisper_only: bool = False
    """Something that it alone does, and that nobody may believe to be done where it is not."""


def routes(registered: Registered, needs: Needs, named: Collection[Service] = ()) -> Tiers[Route]:
    """The ways in which a recording can be transcribed.

    Args:
        registered: what there is.
        needs: what is asked for.
        named: the services that have the model that the client names, which go before all others.
    """
    whisperx = registered.ranked("speakers", "whisperx")
    parakeets = registered.ranked("asr", "parakeet")
    sortformers = registered.ranked("diarize", "sortformer")
    installed = tuple(Alone(it) for it in whisperx if not it.is_embedded)
    embedded = tuple(Alone(it) for it in whisperx if it.is_embedded)
    words = tuple(Words(it) for it in parakeets)
    pairs = tuple(Pair(asr, diarizer) for asr in parakeets for diarizer in sortformers)
    tiers: Tiers[Route]
    if needs.whisper_only:
        tiers = installed, embedded
    elif needs.speakers:
        tiers = installed, pairs, embedded
    elif needs.whisper:
        tiers = installed, embedded, words
    else:
        tiers = words, installed, embedded
    has_model = [tuple(it for it in tier if _is_one_of(it, named)) for tier in tiers]
    others = [tuple(it for it in tier if not _is_one_of(it, named)) for tier in tiers]
    return tuple(tier for tier in [*has_model, *others] if tier)


def _is_one_of(route: Route, named: Collection[Service]) -> bool:
    return any(service in named for service in route.services)


def each(tiers: Iterable[Iterable[AnyRoute]]) -> tuple[AnyRoute, ...]:
    """All routes of all tiers, in order."""
    return tuple(route for tier in tiers for route in tier)


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

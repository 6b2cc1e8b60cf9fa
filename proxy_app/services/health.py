"""How a service is, as its own /health tells: asked seldom, remembered for a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from proxy_app.services.registry import Service

READY = "ready"
WARMING = "warming"
SUSPECT = "suspect"
UNREACHABLE = "unreachable"
"""Nothing answers. Whether it is absent, stopped or restarting, only its host knows."""
ABSENT = "absent"
STOPPED = "stopped"
RESTARTING = "restarting"
GIVEN_UP = "given_up"
"""These four only the watch process can tell."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of a service at one moment."""

    state: str
    """READY, WARMING, SUSPECT or UNREACHABLE."""
    detail: str = ""
    """For people: why it is not ready, or will be a little late."""
    model: str | None = None
    diarizer: str | None = None
    device: str | None = None
    uptime_s: float | None = None
    in_flight: int | None = None
    queue: int | None = None
    """How many requests it lets wait beside the one that it works on, where it says so."""
    max_audio_s: float | None = None
    """The longest recording that it takes, where it says so."""
    tells_progress: bool = False
    """Whether it says how far its work is, when it has some."""
    progress: float | None = None
    """A number that changes while the work advances."""
    models: tuple[str, ...] = ()
    """Of an LLM server: what it lists."""
    is_silent: bool = False
    """Whether nothing came within the time that it has to answer."""

    @property
    def ready(self) -> bool:
        """Whether requests can be served."""
        return self.state == READY

    def shown(self) -> dict[str, Any]:
        """What people want to know of it, for JSON."""
        hidden = ("progress", "tells_progress", "models", "is_silent")
        return {name: value for name, value in asdict(self).items() if name not in hidden}


@dataclass(slots=True)
class _Entry:
    # Looked up when an entry is made: gunicorn imports this file before gevent has patched the
    # standard library, and a native lock would stop the whole worker.
    lock: threading.Lock = field(default_factory=lambda: threading.Lock())  # noqa: PLW0108
    health: Health | None = None
    began: float = 0.0
    """When the service was asked for it."""
    until: float = 0.0

    def is_fresh(self, at: float, at_most_s: float) -> bool:
        """Whether what is known may still be told."""
        return self.health is not None and at <= max(self.began + at_most_s, self.until)

    def is_known_silent(self, at: float) -> bool:
        """Whether it was silent the last time, which was not long ago."""
        return self.health is not None and self.health.is_silent and at < self.began + _SILENT_S


_SILENT_S = 60.0
"""For so long requests do not wait for one that was silent, but are told that it was."""


class HealthCache:
    """Asks a service at most once in `keep_s` seconds while it is ready, however many want to know.

    A service that is not ready is asked again by whoever wants to know, so that no worker says
    "not ready" after another has said "ready". Those who ask meanwhile share one answer.
    """

    def __init__(self, probe: Callable[[Service], Health], *, keep_s: float = 2.0) -> None:
        self._probe = probe
        self._keep_s = keep_s
        self._entries: dict[Service, _Entry] = {}

    def of(self, service: Service, *, at_most_s: float = 0.0) -> Health:
        """How the service is; waits for the probe where nothing fresh is known.

        Args:
            service: which one.
            at_most_s: how old an answer may be, in seconds, whatever it says. Where it is given,
                one that was silent a moment ago is not waited for: it is asked beside.
        """
        asked = time.monotonic()
        entry = self._entries.setdefault(service, _Entry())
        if at_most_s and (known := entry.health) and entry.is_known_silent(asked):
            if not entry.is_fresh(asked, at_most_s) and entry.lock.acquire(blocking=False):
                threading.Thread(target=self._renew, args=(service, entry), daemon=True).start()
            return known
        with entry.lock:
            if entry.health is None or not entry.is_fresh(asked, at_most_s):
                entry.health = self._ask(service, entry)
            return entry.health

    def _ask(self, service: Service, entry: _Entry) -> Health:
        entry.began = time.monotonic()
        health = self._probe(service)
        entry.until = time.monotonic() + self._keep_s if health.ready else 0.0
        return health

    def _renew(self, service: Service, entry: _Entry) -> None:
        """Ask beside the requests; the entry's lock is ours, and given back."""
        try:
            entry.health = self._ask(service, entry)
        finally:
            entry.lock.release()

    def known(self, service: Service) -> Health | None:
        """What it said last, however long ago; it is not asked."""
        entry = self._entries.get(service)
        return entry.health if entry else None

    def state_of(self, name: str) -> str | None:
        """The state in which a service of this name was last; None where nobody asked."""
        for service, entry in reversed(list(self._entries.items())):
            if service.name == name and entry.health:
                return entry.health.state
        return None

    def forget(self, service: Service) -> None:
        """Ask again next time: the service has just shown that it is not what it says."""
        entry = self._entries.get(service)
        if entry is None or not (entry.health and entry.health.is_silent):
            self._entries.pop(service, None)

    def of_all(self, services: tuple[Service, ...]) -> list[Health]:
        """How the services are, in their order, asked side by side."""
        for gone in set(self._entries) - set(services):
            self._entries.pop(gone, None)
        if len(services) < 2:  # noqa: PLR2004 - one needs no helpers
            return [self.of(service) for service in services]
        with ThreadPoolExecutor(max_workers=min(len(services), 16)) as pool:
            return list(pool.map(self.of, services))

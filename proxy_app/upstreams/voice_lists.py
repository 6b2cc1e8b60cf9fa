"""Which voices a server has: asked seldom, remembered for a while."""

from __future__ import annotations

import time
from collections.abc import Callable

from proxy_app.services import Service
from proxy_app.speech.voices import Voice


class VoiceLists:
    """Remembers lists. What a server could not say is not remembered.

    Args:
        ask: asks a server; what it raises is raised.
    """

    TIMEOUT_S = 5.0
    """How long a server may take to list its voices."""
    KEPT_S = 300.0
    MOST = 100
    """Services; each other way to register one counts anew."""

    def __init__(self, ask: Callable[[Service], tuple[Voice, ...]]) -> None:
        self._ask = ask
        self._kept: dict[Service, tuple[float, tuple[Voice, ...]]] = {}

    def of(self, service: Service) -> tuple[Voice, ...]:
        """A server's voices."""
        until, voices = self._kept.get(service, (0.0, ()))
        if time.monotonic() >= until:
            voices = self._ask(service)
            if len(self._kept) >= self.MOST:
                self._kept.clear()
            self._kept[service] = (time.monotonic() + self.KEPT_S, voices)
        return voices

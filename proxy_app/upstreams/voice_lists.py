"""Which voices a server has: asked seldom, remembered for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from proxy_app.services import Service
from proxy_app.speech.voices import Voice
from proxy_app.upstreams.errors import TimeLimitError, UnavailableError, UpstreamError

log = logging.getLogger(__name__)

_LONGEST_NAME = 200
"""Characters, of what is no name any more."""


@dataclass(slots=True)
class _Entry:
    # Made when it is needed: gunicorn imports this file before gevent has patched the standard
    # library, and a native lock would stop the whole worker.
    lock: threading.Lock = field(default_factory=lambda: threading.Lock())  # noqa: PLW0108
    voices: tuple[Voice, ...] | None = None
    """What it said last."""
    error: UpstreamError | None = None
    """Why it has never said any."""
    until: float = 0.0


class VoiceLists:
    """Remembers lists, and for some seconds that a server could not tell its own.

    Those who ask meanwhile share one answer. A list that is known stays where the server does not
    tell it again.

    Args:
        ask: asks a server; what it raises is raised.
    """

    TIMEOUT_S = 3.0
    """How long a server may take to list its voices."""
    KEPT_S = 300.0
    FAILED_S = 10.0
    MOST = 100
    """Services; each other way to register one counts anew."""
    MOST_VOICES = 500
    """Of one service."""

    def __init__(self, ask: Callable[[Service], tuple[Voice, ...]]) -> None:
        self._ask = ask
        self._kept: dict[Service, _Entry] = {}

    def of(self, service: Service) -> tuple[Voice, ...]:
        """A server's voices.

        Raises:
            UpstreamError: it does not tell them; never for the time that it takes, as another one
                may still speak.
        """
        entry = self._kept.get(service)
        if entry is None:
            if len(self._kept) >= self.MOST:
                self._kept.clear()
            entry = self._kept.setdefault(service, _Entry())
        with entry.lock:
            if time.monotonic() >= entry.until:
                self._renew(entry, service)
            if entry.voices is None:
                assert entry.error is not None, "one of them is known"
                raise entry.error.with_traceback(None)
            return entry.voices

    def _usable(self, service: Service, listed: tuple[Voice, ...]) -> tuple[Voice, ...]:
        """What clients can be shown, and can name: a server may list anything."""
        found = tuple(_shown(voice) for voice in listed if _is_name(voice.id))[: self.MOST_VOICES]
        if len(found) < len(listed):
            log.warning(
                "%s lists %d voices: %d are taken, with names of up to %d printable characters",
                service.name, len(listed), len(found), _LONGEST_NAME,
            )  # fmt: skip
        return found

    def _renew(self, entry: _Entry, service: Service) -> None:
        kept_s = self.FAILED_S
        try:
            entry.voices = self._usable(service, self._ask(service))
            kept_s = self.KEPT_S
        except TimeLimitError as error:
            message = f"{service.title} did not list its voices within {self.TIMEOUT_S:g} s."
            entry.error = UnavailableError(service.name, message, log=error.message)
        except UpstreamError as error:
            entry.error = error
        entry.until = time.monotonic() + kept_s


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable()


def _shown(voice: Voice) -> Voice:
    """A voice without what is told of it that nobody can read."""
    name = voice.name if _is_name(voice.name) else voice.id
    language = voice.language if _is_name(voice.language) else ""
    return replace(voice, name=name, language=language)

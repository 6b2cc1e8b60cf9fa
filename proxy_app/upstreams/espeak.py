"""eSpeak NG, the voice that is there without a server: a wheel's library, in a child process."""

from __future__ import annotations

import json
from pathlib import Path

from proxy_app.audio.confined import ChildError, confined
from proxy_app.audio.encode import Sound
from proxy_app.services import Service
from proxy_app.speech.voices import Voice, find_espeak, tag
from proxy_app.upstreams.errors import UnavailableError

_CHILD = Path(__file__).with_name("espeak_child.py")
_MEMORY_BYTES = 512 * 1024 * 1024
_CPU_S = 20


class Espeak:
    """Speaks a hundred languages, none of them well."""

    cap_s: float | None = None
    leaves_out = True

    def __init__(self) -> None:
        self._voices: tuple[Voice, ...] = ()

    def voices(self, service: Service) -> tuple[Voice, ...]:
        """One for each language; they never change.

        Raises:
            UnavailableError: the library cannot be used.
        """
        if not self._voices:
            answer, _ = self._ask(service)
            listed = json.loads(answer)["voices"]
            self._voices = tuple(Voice(code, name, tag(code)) for code, name in listed.items())
        return self._voices

    def find(self, service: Service, wanted: str, language: str) -> Voice | None:
        """The voice that a client means."""
        return find_espeak(wanted, self.voices(service), language)

    def speak(
        self,
        service: Service,
        text: str,
        voice: Voice,
        *,
        instructions: str = "",  # noqa: ARG002 - it takes none
        limit_s: float = 0.0,  # noqa: ARG002 - the child has limits of its own
    ) -> Sound:
        """Say it.

        Raises:
            UnavailableError: the library failed on it.
        """
        answer, samples = self._ask(service, voice=voice.id, text=text)
        return Sound(json.loads(answer)["rate"], samples)

    def _ask(self, service: Service, **question: str) -> tuple[bytes, bytes]:
        try:
            with confined(_CHILD, memory_bytes=_MEMORY_BYTES, cpu_s=_CPU_S) as child:
                child.send(json.dumps(question).encode())
                return child.receive(), child.receive() if question else b""
        except ChildError as error:
            raise UnavailableError(
                service.name, f"{service.title} failed on this text.", log=str(error), status=500
            ) from error

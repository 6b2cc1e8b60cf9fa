"""Text to speech by any service that has it, each in the way of its API."""

from __future__ import annotations

from typing import Protocol

from proxy_app.audio.encode import Sound
from proxy_app.services import Service
from proxy_app.speech.voices import Voice
from proxy_app.upstreams.espeak import Espeak
from proxy_app.upstreams.http import Client
from proxy_app.upstreams.magpie import Magpie
from proxy_app.upstreams.openai_speech import OpenAISpeech
from proxy_app.upstreams.saying import Saying, Speaking


class Speaks(Protocol):
    """What every adapter of a voice has."""

    cap_s: float | None
    """A sound that is as long as that, in seconds, was cut off without a word about it."""
    leaves_out: bool
    """Whether it passes over what it cannot read, also where that is the whole text."""

    def voices(self, service: Service) -> tuple[Voice, ...]:
        """The voices of a service; raises UpstreamError."""

    def find(self, service: Service, wanted: str, language: str) -> Voice | None:
        """The voice that a client means; raises UpstreamError."""

    def speak(
        self, service: Service, text: str, voice: Voice, *, instructions: str = "", limit_s: float
    ) -> Sound:
        """Say a piece of text, of which the end may be missing; raises UpstreamError."""


class Voices:
    """Knows the adapters. One for the whole process; greenlets may share it."""

    def __init__(self, client: Client) -> None:
        self._saying = Saying()
        magpie = Magpie(client)
        self._adapters: dict[str, Speaks] = {
            "magpie": magpie,
            "riva": magpie,
            "openai": OpenAISpeech(client),
            "espeak": Espeak(),
        }

    def by(self, service: Service) -> Speaks | None:
        """The adapter of a service; none where its API has no speech."""
        return self._adapters.get(service.api)

    def say(
        self, service: Service, text: str, voice: Voice, *, instructions: str = "", limit_s: float
    ) -> Sound:
        """Say the whole of a piece of text.

        Args:
            service: one that has an adapter.
            text: so much as is said in one go.
            voice: of `find`'s.
            instructions: how to say it, for services that take such.
            limit_s: seconds for each question that is asked for it.

        Raises:
            CutShortError: its end is missing, however often it is asked for.
            UpstreamError: as the adapter.
        """
        adapter = self._adapters[service.api]

        def speak(part: str) -> Sound:
            return adapter.speak(service, part, voice, instructions=instructions, limit_s=limit_s)

        return self._saying.whole(
            text, Speaking(speak, service, voice, adapter.cap_s, adapter.leaves_out)
        )

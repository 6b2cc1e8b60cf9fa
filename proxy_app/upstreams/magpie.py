"""NVIDIA's Magpie: the HTTP API of the Riva text-to-speech NIM.

GET /v1/audio/list_voices, POST /v1/audio/synthesize (multipart in, a WAV out). It ends after 20 s
of sound without a word about it, and some versions end short texts too soon (1.10's release notes).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy_app.audio import wav
from proxy_app.audio.encode import Sound
from proxy_app.services import Service
from proxy_app.speech.voices import Voice, find_magpie, magpie_voice
from proxy_app.upstreams.errors import UnavailableError, unusable
from proxy_app.upstreams.http import Client, failure
from proxy_app.upstreams.voice_lists import VoiceLists

_RATE = 22_050
"""What its models make."""


class Magpie:
    """Speaks with the voices of one NIM."""

    cap_s: float | None = 19.5
    leaves_out = False

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lists = VoiceLists(self._list)

    def voices(self, service: Service) -> tuple[Voice, ...]:
        """All that it has.

        Raises:
            UpstreamError: it does not say.
        """
        return self._lists.of(service)

    def find(self, service: Service, wanted: str, language: str) -> Voice | None:
        """The voice that a client means."""
        return find_magpie(wanted, self.voices(service), language)

    def speak(
        self,
        service: Service,
        text: str,
        voice: Voice,
        *,
        instructions: str = "",  # noqa: ARG002 - it takes none
        limit_s: float,
    ) -> Sound:
        """Say it.

        Raises:
            UpstreamError: of the kinds in Client.post_file.
        """
        fields = [
            ("text", text),
            ("language", voice.language or "en-US"),
            ("voice", voice.id),
            ("sample_rate_hz", str(_RATE)),
            ("encoding", "LINEAR_PCM"),
        ]
        path = "/v1/audio/synthesize"
        data = self._client.post_fields(service, path, fields, limit_s=limit_s)
        try:
            rate, samples = wav.parse(data)
        except ValueError as error:
            raise unusable(service, error) from error
        # Its own file is handed on where it is what clients take a wav for: 16 bits, one channel.
        return Sound(rate, samples, data if samples in data[-len(samples) - 64 :] else b"")

    def _list(self, service: Service) -> tuple[Voice, ...]:
        path = "/v1/audio/list_voices"
        status, answer = self._client.get(service, path, timeout_s=VoiceLists.TIMEOUT_S)
        if status != 200:  # noqa: PLR2004 - HTTP's own number
            raise failure(service, status, answer, None)
        names = sorted(set(_names(answer)))
        if not names:
            raise UnavailableError(service.name, f"{service.title} lists no voices yet.")
        return tuple(map(magpie_voice, names))


def _names(answer: Any) -> Iterator[str]:  # noqa: ANN401 - JSON from outside
    """The names in {"en-US,es-US": {"voices": [NAME]}}, whatever the keys are."""
    if isinstance(answer, dict):
        for listed in answer.values():
            voices = listed.get("voices") if isinstance(listed, dict) else None
            if isinstance(voices, list):
                yield from (name for name in voices if isinstance(name, str) and name)

"""NVIDIA's Magpie: the HTTP API of the Riva text-to-speech NIM.

GET /v1/audio/list_voices, POST /v1/audio/synthesize (multipart in, a WAV out). It ends after 20 s
of sound without a word about it, and some versions end short texts too soon (1.10's release notes).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from proxy_app.audio import wav
from proxy_app.audio.encode import Sound, smooth
from proxy_app.services import Service
from proxy_app.speech.pieces import longest_s, pieces, shortest_s
from proxy_app.speech.voices import Voice, find_magpie, magpie_voice
from proxy_app.upstreams.errors import UnavailableError, unusable
from proxy_app.upstreams.http import Client, failure
from proxy_app.upstreams.voice_lists import VoiceLists

log = logging.getLogger(__name__)

_RATE = 22_050
"""What its models make."""
_CAP_S = 19.5
"""A sound as long as that was cut off."""


class Magpie:
    """Speaks with the voices of one NIM."""

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
        """Say it, once more where the sound is too short for the text.

        Raises:
            UpstreamError: of the kinds in Client.post_file.
        """
        sound = self._synthesize(service, text, voice, limit_s)
        if sound.duration_s >= _CAP_S:
            return self._in_halves(service, text, voice, limit_s) or sound
        if sound.duration_s < shortest_s(text):
            log.warning("%s made %.1f s of a text: once more", service.name, sound.duration_s)
            again = self._synthesize(service, text, voice, limit_s)
            return max(sound, again, key=lambda made: made.duration_s)
        return sound

    def _in_halves(self, service: Service, text: str, voice: Voice, limit_s: float) -> Sound | None:
        """The same in shorter pieces; nothing, if it cannot be cut."""
        parts = pieces(text, longest_s(text) * 0.6)
        if len(parts) < 2:  # noqa: PLR2004 - nothing was cut
            return None
        log.warning("%s was cut off: the text is said in %d pieces", service.name, len(parts))
        sounds = [self._synthesize(service, part.text, voice, limit_s) for part in parts]
        said = zip(sounds, parts, strict=True)
        samples = b"".join(smooth(it, part.pause_s).samples for it, part in said)
        return Sound(sounds[0].rate, samples)

    def _synthesize(self, service: Service, text: str, voice: Voice, limit_s: float) -> Sound:
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
        return Sound(rate, samples, data)

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

"""Servers that have OpenAI's POST /v1/audio/speech: Kokoro-FastAPI, openedai-speech and others."""

from __future__ import annotations

from typing import Any

from proxy_app.audio import wav
from proxy_app.audio.encode import Sound
from proxy_app.services import Service
from proxy_app.speech.voices import Voice, find_openai
from proxy_app.upstreams.errors import RejectedError, unusable
from proxy_app.upstreams.http import Client, failure
from proxy_app.upstreams.voice_lists import VoiceLists

_MODEL = "tts-1"
"""What all of them take, where the registration names none."""
_NO_LIST = (404, 405, 501)


class OpenAISpeech:
    """Speaks with the voices of one server."""

    cap_s: float | None = None
    leaves_out = False

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lists = VoiceLists(self._list)

    def voices(self, service: Service) -> tuple[Voice, ...]:
        """All that it lists; none where it has no list, as OpenAI has none.

        Raises:
            UpstreamError: it does not say.
        """
        return self._lists.of(service)

    def find(self, service: Service, wanted: str, language: str) -> Voice | None:  # noqa: ARG002 - its names have none
        """The voice that a client means."""
        return find_openai(wanted, self.voices(service))

    def speak(
        self,
        service: Service,
        text: str,
        voice: Voice,
        *,
        instructions: str = "",
        limit_s: float,
    ) -> Sound:
        """Say it.

        Raises:
            UpstreamError: of the kinds in Client.post_file.
        """
        asked = {
            "model": service.model or _MODEL,
            "input": text,
            "voice": voice.id,
            "response_format": "wav",
            **({"instructions": instructions} if instructions else {}),
        }
        path = "/v1/audio/speech"
        data = self._client.post_json(service, path, asked, limit_s=limit_s)
        try:
            rate, samples = wav.parse(data)
        except ValueError as error:
            raise unusable(service, error) from error
        return Sound(rate, samples)

    def _list(self, service: Service) -> tuple[Voice, ...]:
        path = "/v1/audio/voices"
        status, answer = self._client.get(service, path, timeout_s=VoiceLists.TIMEOUT_S)
        if status in _NO_LIST:
            return ()
        if status != 200:  # noqa: PLR2004 - HTTP's own number
            error = failure(service, status, answer, None)
            if isinstance(error, RejectedError):
                return ()
            raise error
        listed = answer.get("voices", answer.get("data")) if isinstance(answer, dict) else answer
        found = map(_voice, listed if isinstance(listed, list) else [])
        return tuple(voice for voice in found if voice is not None)


def _voice(listed: Any) -> Voice | None:  # noqa: ANN401 - JSON from outside
    """A voice as it is listed: its name, or an object with that."""
    if isinstance(listed, str) and listed:
        return Voice(listed, listed, "")
    if not isinstance(listed, dict):
        return None
    names = [listed.get(key) for key in ("id", "voice_id", "name")]
    known = [name for name in names if isinstance(name, str) and name]
    language = listed.get("language")
    return (
        Voice(known[0], known[-1], language if isinstance(language, str) else "") if known else None
    )

"""The WhisperX server of images/whisperx/app."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy_app.services import Service
from proxy_app.speech import FormatError, Transcript, from_conversation, from_verbose_json
from proxy_app.upstreams.errors import UnavailableError
from proxy_app.upstreams.http import Client, Fields


@dataclass(frozen=True, slots=True)
class Options:
    """What a client may ask of a transcription."""

    language: str | None = None
    """ISO 639-1, None to detect it."""
    prompt: str = ""
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    words: bool = False
    """Whether the words and their times are wanted as well."""


class WhisperX:
    """Transcribes with speakers, or without."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def converse(
        self, service: Service, wav: Path, options: Options, *, limit_s: float
    ) -> tuple[dict[str, Any], Transcript]:
        """Who said what: the server's own answer, and the same as a transcript.

        Raises:
            UpstreamError: of the kinds in Client.post_file.
        """
        fields = [
            *_common(options),
            *(
                (name, str(value))
                for name in ("num_speakers", "min_speakers", "max_speakers")
                if (value := getattr(options, name)) is not None
            ),
        ]
        if options.words:
            fields.append(("words", "true"))
        answer = self._client.post_file(
            service, "/v1/audio/transcribe-with-speakers", wav, fields, limit_s=limit_s
        )
        try:
            return answer, from_conversation(answer)
        except FormatError as error:
            raise _unusable(service, error) from error

    def transcribe(
        self, service: Service, wav: Path, options: Options, *, limit_s: float
    ) -> Transcript:
        """What was said, with words where the server knows them.

        Raises:
            UpstreamError: of the kinds in Client.post_file.
        """
        fields = [
            *_common(options),
            ("response_format", "verbose_json"),
            ("timestamp_granularities[]", "segment"),
            ("timestamp_granularities[]", "word"),
        ]
        answer = self._client.post_file(
            service, "/v1/audio/transcriptions", wav, fields, limit_s=limit_s
        )
        try:
            return from_verbose_json(answer)
        except FormatError as error:
            raise _unusable(service, error) from error


def _common(options: Options) -> Fields:
    fields = (("language", options.language), ("prompt", options.prompt))
    return [(name, value) for name, value in fields if value]


def _unusable(service: Service, error: Exception) -> UnavailableError:
    return UnavailableError(
        service.name, f"{service.title} gave an answer that makes no sense.", log=str(error)
    )

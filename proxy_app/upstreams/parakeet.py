"""Parakeet servers: OpenAI's transcription endpoint, as ours and others have it."""

from __future__ import annotations

from proxy_app.audio import Piece
from proxy_app.services import Service
from proxy_app.speech import FormatError, Recognised, from_recogniser
from proxy_app.upstreams.errors import unusable
from proxy_app.upstreams.http import Client


class Parakeet:
    """Hears words and their times; who says them it cannot tell."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def transcribe(
        self, service: Service, piece: Piece, language: str | None, *, limit_s: float
    ) -> Recognised:
        """What is said in a piece of a recording, in the recording's own times.

        Args:
            service: which server.
            piece: no longer than it takes at once.
            language: Whisper's code of it, None where it is not known.
            limit_s: seconds for the whole exchange.

        Raises:
            UpstreamError: of the kinds in Client.post_file.
        """
        fields = [
            ("response_format", "verbose_json"),
            ("timestamp_granularities[]", "segment"),
            ("timestamp_granularities[]", "word"),
            ("include_timestamps", "true"),  # what some servers call it
        ]
        if service.model:
            fields.append(("model", service.model))
        if language:
            fields.append(("language", language))
        answer = self._client.post_file(
            service, "/v1/audio/transcriptions", piece, fields, limit_s=limit_s, or_subtitles=True
        )
        try:
            return from_recogniser(answer, piece.duration_s).later(piece.start_s)
        except FormatError as error:
            raise unusable(service, error) from error

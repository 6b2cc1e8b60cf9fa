"""Parakeet servers: OpenAI's transcription endpoint, as ours and others have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from proxy_app.audio import Piece, pieces
from proxy_app.services import Service
from proxy_app.speech import FormatError, Recognised, Times, Transcript, from_recogniser
from proxy_app.upstreams.errors import NoTimesError, unusable
from proxy_app.upstreams.events import End, Event, Heard, Progress
from proxy_app.upstreams.http import Client, time_limit
from proxy_app.upstreams.whisperx import Options

Tell = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Recording:
    """A WAV of `to_wav`'s, which may be padded, and its true length in seconds."""

    wav: Path
    duration_s: float


@dataclass(frozen=True, slots=True)
class Hearing:
    """On which terms a Parakeet server works on a recording."""

    piece_s: float
    """The longest piece in seconds that it gets at once."""
    limit_s: float
    """Seconds that it may take for all of them."""
    options: Options
    """Of them the language has an effect."""
    times: Times
    """Of what it must tell them."""
    model: str = ""
    """What it runs, for the answer."""


class Parakeet:
    """Hears words and their times; who says them it cannot tell."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._untimed: dict[Service, Times] = {}
        """What was told of times by those that did not tell enough for a request."""

    def transcribe(self, service: Service, recording: Recording, terms: Hearing, tell: Tell) -> End:
        """What was said.

        Args:
            service: which server.
            recording: it must stay until this returns.
            terms: what is asked for, and limits. What has no effect the answer's warnings name.
            tell: is given the text of each piece as it becomes known.

        Raises:
            UpstreamError: as `hear`.
        """
        heard = self.hear(service, recording, terms, tell)
        segments = tuple(chain.from_iterable(piece.with_words() for piece in heard))
        language = terms.options.language or ""
        language = language or next((it.language for it in heard if it.language), "")
        answer: dict[str, Any] = {"models": {"transcription": terms.model}}
        warnings = unheeded(service, terms.options)
        return End(
            Transcript(segments, recording.duration_s, language),
            answer | ({"warnings": warnings} if warnings else {}),
            times_of(heard),
        )

    def hear(
        self, service: Service, recording: Recording, terms: Hearing, tell: Tell
    ) -> list[Recognised]:
        """What is said in each piece of a recording, in the recording's own times.

        Raises:
            NoTimesError: the server does not tell the times that are needed.
            UpstreamError: of the kinds in Client.post_file.
        """
        found: list[Recognised] = []
        with time_limit(service, terms.limit_s):
            for piece in pieces(recording.wav, terms.piece_s):
                language = terms.options.language
                heard = self.recognise(service, piece, language, limit_s=terms.limit_s)
                if heard.times < terms.times:
                    self._untimed[service] = heard.times
                    raise NoTimesError(service, words=terms.times == Times.WORDS)
                found.append(heard)
                tell(Heard(heard.segments))
                done_s = min(piece.start_s + piece.duration_s, recording.duration_s)
                tell(Progress("transcription", done_s, recording.duration_s))
        if terms.times and any(heard.segments for heard in found):
            self._untimed.pop(service, None)
        return found

    def tells(self, service: Service, times: Times) -> bool:
        """Whether a server has not failed to tell such times when it was asked last."""
        return self._untimed.get(service, times) >= times

    def recognise(
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
            service,
            "/v1/audio/transcriptions",
            piece,
            fields,
            limit_s=limit_s,
            or_subtitles=True,
        )
        try:
            return from_recogniser(answer, piece.duration_s).later(piece.start_s)
        except FormatError as error:
            raise unusable(service, error) from error


def times_of(heard: Sequence[Recognised]) -> Times:
    """The times that all pieces of a recording have."""
    return min((piece.times for piece in heard), default=Times.WORDS)


def unheeded(service: Service, options: Options) -> list[str]:
    """What was asked for that a Parakeet server has nothing like, a sentence each."""
    return [
        f"`{name}` had no effect: {service.title} has nothing like it."
        for name in ("prompt", "keywords", "languages", "temperature", "chunking_strategy")
        if getattr(options, name)
    ]

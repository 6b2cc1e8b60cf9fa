"""The WhisperX server of images/whisperx/app."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from proxy_app.services import Service
from proxy_app.speech import FormatError, Times, Transcript, from_conversation, from_verbose_json
from proxy_app.speech.formats.reading import finite, read_object, read_text
from proxy_app.upstreams.errors import UnavailableError, unusable
from proxy_app.upstreams.events import Attributed, End, Event, Heard, Progress
from proxy_app.upstreams.http import Client, failure
from proxy_app.upstreams.multipart import Fields, Files

_LONGEST_STAGE = 40


@dataclass(frozen=True, slots=True)
class KnownSpeaker:
    """Somebody whom the client knows by name."""

    name: str
    reference: Path
    """A WAV of `to_wav`'s (16 kHz, mono, 16 bit) in which nobody else speaks."""
    duration_s: float


@dataclass(frozen=True, slots=True)
class Vad:
    """How speech is told from silence; what is None the server knows best."""

    threshold: float | None = None
    """The probability, 0 to 1, from which on something is speech."""
    prefix_padding_s: float | None = None
    """Seconds that are heard before speech, and after it."""
    silence_s: float | None = None
    """Seconds of silence that end a stretch of speech."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a client may ask of a transcription."""

    language: str | None = None
    """Whisper's code of it, None to detect it."""
    prompt: str = ""
    languages: tuple[str, ...] = ()
    """The codes among which it is detected; none are all."""
    keywords: tuple[str, ...] = ()
    """Names and terms that are to be expected."""
    temperature: float = 0.0
    """0 lets the model raise it where it is unsure."""
    translate: bool = False
    """Into English."""
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    words: bool = False
    """Whether the words and their times are wanted as well."""
    chunking_strategy: Vad | None = None
    logprobs: bool = False
    """Whether the tokens' probabilities are wanted. Only a WhisperX server has them."""
    known_speakers: tuple[KnownSpeaker, ...] = ()
    """Whose names are to stand instead of numbers where their voices are found, each at most once.
    Only a WhisperX server can do it."""
    speaker_embeddings: bool = False
    """Whether the answer's `speaker_embeddings` and `embedding_model` are wanted, which tell each
    speaker's voice. Only a WhisperX server has them."""
    times: Times = Times.NONE
    """Of which of them the times must be true: others than a recogniser's own are made up."""
    model: str = ""
    """As the client names it, or nothing."""


class _Task(NamedTuple):
    """One of the server's requests, and how its answers are read."""

    path: str
    fields: Fields
    references: Files
    read: Callable[[Mapping[str, Any]], Transcript]


class WhisperX:
    """Transcribes with speakers, or without."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def transcribe(
        self, service: Service, wav: Path, options: Options, *, speakers: bool, limit_s: float
    ) -> tuple[dict[str, Any], Transcript]:
        """What was said, and by whom: the server's own answer, and the same as a transcript.

        Raises:
            UpstreamError: of the kinds in Client.post_file.
        """
        task = _task(options, speakers=speakers)
        answer = self._client.post_file(
            service, task.path, wav, task.fields, limit_s=limit_s, more=task.references
        )
        try:
            return answer, task.read(answer)
        except FormatError as error:
            raise unusable(service, error) from error

    @contextmanager
    def follow(
        self, service: Service, wav: Path, options: Options, *, speakers: bool, limit_s: float
    ) -> Iterator[Iterator[Event]]:
        """The same as it becomes known: events, of which the last is an End.

        As with Client.stream_file the block belongs to one greenlet, and the WAV and the references
        are needed only until it begins.

        Raises:
            UpstreamError: of the kinds in Client.post_file, here or while the events are read.
        """
        task = _task(options, speakers=speakers)
        fields = [*task.fields, ("stream", "true")]
        with self._client.stream_file(
            service, task.path, wav, fields, limit_s=limit_s, more=task.references
        ) as lines:
            yield _events(service, lines, task)


def _task(options: Options, *, speakers: bool) -> _Task:
    fields = [
        (name, value)
        for name, value in (
            ("language", options.language),
            ("prompt", options.prompt),
            ("temperature", str(options.temperature) if options.temperature else ""),
            *_vad_fields(options.chunking_strategy),
            *(("languages[]", code) for code in options.languages),
            *(("keywords[]", keyword) for keyword in options.keywords),
        )
        if value
    ]
    if not speakers:
        fields.append(("response_format", "verbose_json"))
        granularities = ("segment", "word") if options.words else ("segment",)
        fields += [("timestamp_granularities[]", granularity) for granularity in granularities]
        if options.logprobs:
            fields.append(("include[]", "logprobs"))
        task = "translations" if options.translate else "transcriptions"
        return _Task(f"/v1/audio/{task}", fields, (), from_verbose_json)
    fields += [
        (name, str(value))
        for name in ("num_speakers", "min_speakers", "max_speakers")
        if (value := getattr(options, name)) is not None
    ]
    fields += [(name, "true") for name in ("words", "speaker_embeddings") if getattr(options, name)]
    fields += [("known_speaker_names[]", known.name) for known in options.known_speakers]
    references = [
        ("known_speaker_references[]", known.reference) for known in options.known_speakers
    ]
    return _Task("/v1/audio/transcribe-with-speakers", fields, references, from_conversation)


def _vad_fields(vad: Vad | None) -> Iterator[tuple[str, str]]:
    if vad is None:
        return
    for name in ("threshold", "prefix_padding_s", "silence_s"):
        value = getattr(vad, name)
        if value is not None:
            yield f"vad_{name}", str(value)


def _events(service: Service, lines: Iterator[dict[str, Any]], task: _Task) -> Iterator[Event]:
    for line in lines:
        if line.get("type") == "error":
            raise _failure(service, line)
        try:
            event = _event(line, task)
        except FormatError as error:
            raise unusable(service, error) from error
        if event is not None:
            yield event
        if isinstance(event, End):
            return
    raise UnavailableError(service.name, f"{service.title} broke off its answer.")


def _event(line: Mapping[str, Any], task: _Task) -> Event | None:
    """A line that is no error; None for kinds that a newer server may know.

    Raises:
        FormatError: it makes no sense.
    """
    match line.get("type"):
        case "progress":
            stage = read_text(line, "stage")[:_LONGEST_STAGE]
            return Progress(stage, _seconds(line, "done_s"), _seconds(line, "total_s"))
        case "segments":
            return Heard(task.read(line).segments)
        case "speakers":
            return Attributed(_seconds(line, "until_s"), task.read(line).segments)
        case "end":
            answer = read_object(line, "answer")
            return End(task.read(answer), answer)
        case str():
            return None
    raise FormatError('"type" is to be a text')


def _seconds(line: Mapping[str, Any], key: str) -> float:
    seconds = finite(line.get(key))
    if seconds is None or seconds < 0:
        raise FormatError(f'"{key}" is to be seconds')
    return seconds


def _failure(service: Service, line: Mapping[str, Any]) -> Exception:
    status, retry_after_s = finite(line.get("status")), finite(line.get("retry_after_s"))
    retry_after = None if retry_after_s is None else str(math.ceil(retry_after_s))
    return failure(service, int(status or 500), line, retry_after)

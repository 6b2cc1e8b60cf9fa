"""Parakeet's words and Sortformer's speakers, found at the same time and merged by their times."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import gevent
from gevent.queue import Queue

from proxy_app.services import Pair, Service
from proxy_app.speech import Recognised, Times, Transcript, merge, without_names
from proxy_app.upstreams.errors import MisconfiguredError, NoTimesError
from proxy_app.upstreams.events import Attributed, End, Progress
from proxy_app.upstreams.http import Client
from proxy_app.upstreams.parakeet import Hearing, Parakeet, Recording, Tell, times_of, unheeded
from proxy_app.upstreams.sortformer import MOST_SPEAKERS, Diarized, Sortformer
from proxy_app.upstreams.whisperx import Options

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms the two services work."""

    piece_s: float
    """The longest piece in seconds that Parakeet gets at once."""
    limit_s: float
    """Seconds that each may take, from when it has a place."""
    place: Callable[[Service], AbstractContextManager[None]]
    """Waits for a place in a service, and holds it."""
    models: dict[str, str]
    """What the services are known to run, by their names."""


class SideBySide:
    """Transcribes with speakers by two services."""

    def __init__(self, client: Client, parakeet: Parakeet) -> None:
        self._parakeet = parakeet
        self._sortformer = Sortformer(client)

    def transcribe(
        self, pair: Pair, recording: Recording, options: Options, terms: Terms, tell: Tell
    ) -> End:
        """What was said, and by whom.

        Args:
            pair: the services.
            recording: it must stay until this returns.
            options: of them the language has an effect; the answer's warnings name the others.
            terms: limits.
            tell: is given the text of each piece as it becomes known, then the speakers.

        Raises:
            UpstreamError: one of the services failed; the other's work was ended.
            QueueFullError: there was no place in one of them.
        """
        tell(Progress("waiting", 0.0, recording.duration_s))
        heard, diarized = _both(
            lambda: self._hear(pair.parakeet, recording, options, terms, tell),
            lambda: self._diarize(pair.sortformer, recording, terms),
        )
        tokens = tuple(chain.from_iterable(piece.tokens for piece in heard))
        language = options.language or next((it.language for it in heard if it.language), "")
        # In a thread: a recording of hours would hold up the worker's other requests.
        merged = gevent.get_hub().threadpool.apply(merge, (tokens, diarized.turns))
        # Nobody is known here, and nobody may be called as if they were.
        names = [known.name for known in options.known_speakers]
        segments = without_names(merged.segments, names) if names else merged.segments
        tell(Attributed(recording.duration_s, segments))
        transcript = Transcript(segments, recording.duration_s, language)
        answer = _answer(pair, diarized, options, terms.models)
        return End(transcript, answer, times_of(heard))

    def _hear(
        self, service: Service, recording: Recording, options: Options, terms: Terms, tell: Tell
    ) -> list[Recognised]:
        """The words of all pieces. Who says them is told by their times, so these are needed."""
        times = max(options.times, Times.SEGMENTS)
        hearing = Hearing(terms.piece_s, terms.limit_s, options, times)
        try:
            with terms.place(service):
                return self._parakeet.hear(service, recording, hearing, tell)
        except NoTimesError as error:
            if options.times == Times.WORDS:
                raise
            raise MisconfiguredError(
                service.name,
                f"{service.title} does not tell when anything is said, so that nobody can tell by "
                "whom.",
            ) from error

    def _diarize(self, service: Service, recording: Recording, terms: Terms) -> Diarized:
        with terms.place(service):
            return self._sortformer.diarize(service, recording.wav, limit_s=terms.limit_s)


def _answer(
    pair: Pair, diarized: Diarized, options: Options, models: dict[str, str]
) -> dict[str, Any]:
    """What the answer has beside the transcript."""
    named = {
        service.name: models.get(service.name) or service.model or service.title
        for service in pair.services
    }
    diarizer = diarized.model or named[pair.sortformer.name]
    answer: dict[str, Any] = {
        "models": {
            "transcription": named[pair.parakeet.name],
            "diarization": f"{diarizer} (tells at most {MOST_SPEAKERS} people apart)",
        }
    }
    warnings = []
    if options.num_speakers or options.min_speakers or options.max_speakers:
        warnings.append(
            f"The number of speakers asked for had no effect: {pair.sortformer.title} finds it by "
            f"itself, and tells at most {MOST_SPEAKERS} people apart."
        )
    if options.known_speakers:
        warnings.append(
            f"`known_speaker_names` had no effect: {pair.sortformer.title} cannot compare voices, "
            "only the WhisperX server can."
        )
    if options.speaker_embeddings:
        warnings.append(
            f"There are no `speaker_embeddings`: {pair.sortformer.title} has none, only the "
            "WhisperX server does."
        )
    warnings += unheeded(pair.parakeet, options)
    return answer | ({"warnings": warnings} if warnings else {})


def _both(one: Callable[[], T], other: Callable[[], U]) -> tuple[T, U]:
    """Do two things at once; what the first to fail raises ends the other."""
    done: Queue[Exception | None] = Queue()
    results: dict[int, Any] = {}

    def do(number: int, work: Callable[[], Any]) -> None:
        try:
            results[number] = work()
            done.put(None)
        except Exception as error:  # noqa: BLE001 - raised again, where it is waited for
            done.put(error)

    greenlets = [gevent.spawn(do, number, work) for number, work in enumerate((one, other))]
    try:
        for _ in greenlets:
            if error := done.get():
                raise error
        return results[0], results[1]
    finally:
        gevent.killall(greenlets)

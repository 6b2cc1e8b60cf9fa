"""The transcription of a recording in short steps, so that others have their turn in between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

from images.serving.heard import Chunk, Heard
from images.serving.recording import Recording, Samples
from images.serving.segments import SegmentBuilder
from images.whisperx.app.alignment import Aligner
from images.whisperx.app.speech_map import SpeechMap
from images.whisperx.app.transcription import CHUNK_S, REPETITIVE, TEMPERATURES, Transcriber, Wish
from images.whisperx.app.transcription.chunks import chunks, first_speech
from proxy_app.speech import Segment, Token

_SPOTS = 5
"""In so many parts of a recording its language is looked for."""
_STEP_S = 8.0
"""A batch that took longer than this is followed by a smaller one: others wait for its end."""


@dataclass(frozen=True, slots=True)
class Written:
    """What one step added; all of them together are the transcription.

    Attributes:
        until_s: all text before this time is known; it never goes back, and ends at the
            recording's duration.
        language: Whisper's code, or "" where it is not known, or not yet.
        segments: the segments that were finished, without speakers.
        tokens: the words as Whisper spelt them, of finished and unfinished segments.
    """

    until_s: float
    language: str
    segments: tuple[Segment, ...]
    tokens: tuple[Token, ...]


def transcribe(
    transcriber: Transcriber,
    recording: Recording,
    speech: SpeechMap,
    wish: Wish,
    find_aligner: Callable[[str], Aligner | None],
) -> Iterator[Written]:
    """Transcribe a recording; the caller may stop, or do something else, after each step.

    A step is one batch of chunks through the model, or one chunk in one more try, through the
    aligner or once more through the model to be weighed, or a minute or so of silence.

    Args:
        transcriber: the model.
        recording: what is transcribed; read a batch at a time.
        speech: where its speech is.
        wish: what the request asks for.
        find_aligner: gives the model for the times of the words of a language, or None.
    """
    language = wish.language or _only(wish.languages) or _only(transcriber.languages)
    if not language:
        spots: list[Samples] = []
        for spot in _spots(speech, recording.duration_s):
            spots += [recording.samples(spot.start_s, spot.end_s)] if spot else []
            yield Written(0.0, "", (), ())
        language = transcriber.detect_language(spots, wish.languages) if spots else ""
        yield Written(0.0, wish.written_in(language), (), ())
    written = _Writing(wish.written_in(language), SegmentBuilder(transcriber.encode))
    # A translation's words are nowhere in the sound.
    aligner = find_aligner(language) if language and not wish.translate else None
    size = _BatchSize(transcriber.batch_size)
    found = chunks(speech, recording.duration_s, wish.listening)
    for batch in _batches(found, size):
        samples = [recording.samples(chunk.start_s, chunk.end_s) for chunk in batch]
        # A batch cannot be decoded at a temperature, so then each chunk is heard by itself.
        together = batch and not wish.temperature
        began = time.monotonic()
        first = transcriber.hear(batch, samples, language, wish) if together else []
        size.note(time.monotonic() - began)
        for chunk, audio, once in zip_longest(batch, samples, first):
            heard = once
            tries: list[Heard] = []
            for at in _ladder(wish):
                if heard is not None and not transcriber.is_doubtful(heard):
                    break
                yield written.take()
                heard = transcriber.hear_again(chunk, audio, language, at)
                tries.append(heard)
            else:
                heard = max(tries, key=_sense)
            if aligner is not None and heard.tokens:
                yield written.take()
                heard = aligner.align(heard, audio)
            if wish.logprobs and heard.tokens:
                yield written.take()
                heard = transcriber.weigh(heard, audio, language, wish)
            written.add(heard)
        yield written.take()
    written.finish(recording.duration_s)
    yield written.take()


def _ladder(wish: Wish) -> list[Wish]:
    """How a chunk is heard again: at the wished temperature alone, or at rising ones."""
    temperatures = (wish.temperature,) if wish.temperature else TEMPERATURES
    return [replace(wish, temperature=temperature) for temperature in temperatures]


def _sense(heard: Heard) -> tuple[bool, float]:
    """Which of several doubtful tries is kept, as OpenAI has it: the surest that varies."""
    is_varied = (heard.decoding.compression_ratio or 0.0) <= REPETITIVE
    return is_varied, heard.decoding.avg_logprob


class _Writing:
    """Collects what the next step will be told to have added."""

    def __init__(self, language: str, builder: SegmentBuilder) -> None:
        self._language = language
        self._builder = builder
        self._until_s = 0.0
        self._segments: list[Segment] = []
        self._tokens: list[Token] = []

    def add(self, heard: Heard) -> None:
        self._segments += self._builder.add(heard)
        self._tokens += heard.tokens
        self._until_s = heard.chunk.end_s

    def finish(self, duration_s: float) -> None:
        self._segments += self._builder.flush()
        self._until_s = duration_s

    def take(self) -> Written:
        taken = Written(self._until_s, self._language, tuple(self._segments), tuple(self._tokens))
        self._segments, self._tokens = [], []
        return taken


def _only(languages: Collection[str]) -> str:
    return next(iter(languages)) if len(languages) == 1 else ""


def _spots(speech: SpeechMap, duration_s: float) -> Iterator[Chunk | None]:
    """Speech from all over the recording, or at least from somewhere; None where there is none."""
    parts = min(_SPOTS, max(1, math.ceil(duration_s / CHUNK_S)))
    length_s = duration_s / parts
    found = False
    for part in range(parts):
        middle_s = (part + 0.5) * length_s
        start_s = max(part * length_s, middle_s - CHUNK_S / 2)
        speech_s = first_speech(speech, start_s, (part + 1) * length_s)
        found = found or speech_s is not None
        yield None if speech_s is None else Chunk(speech_s, min(duration_s, speech_s + CHUNK_S))
    if not found:
        for chunk in chunks(speech, duration_s):
            yield chunk
            if chunk is not None:
                return


class _BatchSize:
    """How many chunks go together: one at first, so that the first text is there soon.

    A large model on a CPU takes half a minute for a chunk; its batches stay small.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self.chunks = 1

    def note(self, took_s: float) -> None:
        """Choose the next size by how long the last batch took, in seconds."""
        if took_s > _STEP_S:
            self.chunks = max(1, self.chunks // 2)
        elif 2 * took_s <= _STEP_S:
            self.chunks = min(2 * self.chunks, self._largest)


def _batches(found: Iterable[Chunk | None], size: _BatchSize) -> Iterator[list[Chunk]]:
    """Chunks in batches. Silence ends a batch, and comes as an empty one where it goes on."""
    batch = list[Chunk]()
    for chunk in found:
        batch += [chunk] if chunk else []
        if chunk is None or len(batch) >= size.chunks:
            yield batch
            batch = []
    if batch:
        yield batch

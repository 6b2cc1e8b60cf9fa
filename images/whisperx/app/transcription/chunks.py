"""What Whisper is given to hear at once: neighbouring speech, together at most CHUNK_S long."""

from __future__ import annotations

from collections.abc import Iterator

from images.serving.heard import Chunk
from images.whisperx.app.speech_map import FRAME_S, Span, SpeechMap
from images.whisperx.app.transcription import CHUNK_S, Listening

_DEFAULT = Listening()
# Speech is looked for in stretches of a minute, or of half a minute more where nobody pauses.
_LOOK_S = 60.0
_LONGEST_LOOK_S = 90.0
# Whoever speaks for longer than a chunk is cut off in its last third.
_CUT_FROM_S = 20.0


def chunks(
    speech: SpeechMap, duration_s: float, listening: Listening = _DEFAULT
) -> Iterator[Chunk | None]:
    """Cut a recording into chunks; the recording is listened to as far as they are asked for.

    Chunks are in order and do not overlap, and all speech is in one.

    Args:
        speech: where the speech is.
        duration_s: the recording's length, in seconds.
        listening: what counts as speech.

    Yields:
        The chunks; None after each stretch without speech, so that an hour of silence can be
        interrupted.
    """
    chunk: Chunk | None = None
    for spans in _looks(speech, duration_s, listening):
        for span in spans:
            for part in _parts(speech, span):
                if chunk is not None and part.end_s - chunk.start_s <= CHUNK_S:
                    chunk = Chunk(chunk.start_s, part.end_s)
                    continue
                if chunk is not None:
                    yield chunk
                chunk = Chunk(part.start_s, part.end_s)
        if not spans:
            if chunk is not None:
                yield chunk
            chunk = None
            yield None
    if chunk is not None:
        yield chunk


def first_speech(speech: SpeechMap, start_s: float, end_s: float) -> float | None:
    """Where the first speech of a stretch begins, if there is any in its first minute or so."""
    spans = next(_looks(speech, end_s, _DEFAULT, start_s), [])
    return spans[0].start_s if spans else None


def _looks(
    speech: SpeechMap, end_s: float, listening: Listening, start_s: float = 0.0
) -> Iterator[list[Span]]:
    """The spans of speech, in stretches that end in a pause where possible."""
    while start_s < end_s:
        until_s = end_s
        if end_s - start_s > _LOOK_S:
            latest_s = min(end_s, start_s + _LONGEST_LOOK_S)
            until_s = speech.pause(start_s + _LOOK_S, latest_s, listening.silence_s)
        yield list(
            speech.spans(
                start_s,
                until_s,
                threshold=listening.threshold,
                min_speech_s=0.0,
                min_silence_s=listening.silence_s,
                pad_s=listening.pad_s,
            )
        )
        start_s = until_s


def _parts(speech: SpeechMap, span: Span) -> Iterator[Span]:
    """The span, cut where speech is least likely as often as it is too long."""
    start_s = span.start_s
    while span.end_s - start_s > CHUNK_S:
        # The frames that lie wholly within the last third of what still fits.
        first = int((start_s + _CUT_FROM_S) / FRAME_S) + 1
        last = int((start_s + CHUNK_S) / FRAME_S)
        unlikely = speech.probabilities(first * FRAME_S, last * FRAME_S).argmin()
        cut_s = (first + int(unlikely) + 0.5) * FRAME_S
        yield Span(start_s, cut_s)
        start_s = cut_s
    yield Span(start_s, span.end_s)

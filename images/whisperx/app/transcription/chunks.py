"""What Whisper is given to hear at once: neighbouring speech, together at most CHUNK_S long."""

from __future__ import annotations

from collections.abc import Iterator

from images.serving.heard import Chunk
from images.whisperx.app.speech_map import FRAME_S, Span, SpeechMap
from images.whisperx.app.transcription import CHUNK_S

# As in faster-whisper's batched pipeline, but for the threshold: at its 0.5 a quiet speaker is
# passed over, and 614 words are written of eleven of AMI's clips instead of 636.
_THRESHOLD = 0.35
_MIN_SILENCE_S = 0.16
_PAD_S = 0.4
# Speech is looked for in stretches of a minute, or of half a minute more where nobody pauses.
_LOOK_S = 60.0
_LONGEST_LOOK_S = 90.0
# Whoever speaks for longer than a chunk is cut off in its last third.
_CUT_FROM_S = 20.0


def chunks(speech: SpeechMap, duration_s: float) -> Iterator[Chunk | None]:
    """Cut a recording into chunks; the recording is listened to as far as they are asked for.

    Chunks are in order and do not overlap, and all speech is in one.

    Args:
        speech: where the speech is.
        duration_s: the recording's length, in seconds.

    Yields:
        The chunks; None after each stretch without speech, so that an hour of silence can be
        interrupted.
    """
    chunk: Chunk | None = None
    for spans in _looks(speech, duration_s):
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
    spans = next(_looks(speech, end_s, start_s), [])
    return spans[0].start_s if spans else None


def _looks(speech: SpeechMap, end_s: float, start_s: float = 0.0) -> Iterator[list[Span]]:
    """The spans of speech, in stretches that end in a pause where possible."""
    while start_s < end_s:
        until_s = end_s
        if end_s - start_s > _LOOK_S:
            latest_s = min(end_s, start_s + _LONGEST_LOOK_S)
            until_s = speech.pause(start_s + _LOOK_S, latest_s, _MIN_SILENCE_S)
        yield list(
            speech.spans(
                start_s,
                until_s,
                threshold=_THRESHOLD,
                min_speech_s=0.0,
                min_silence_s=_MIN_SILENCE_S,
                pad_s=_PAD_S,
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

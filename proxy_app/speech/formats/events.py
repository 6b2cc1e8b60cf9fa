"""OpenAI's events of a transcription with stream=true.

The shapes are those of OpenAI's OpenAPI document: TranscriptTextDeltaEvent, -SegmentEvent and
-DoneEvent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import Any

from proxy_app.speech.formats.openai import DiarizedSegments, languages_of, logprobs_of
from proxy_app.speech.joining import pieces
from proxy_app.speech.model import Segment, Transcript

_CONTEXT = 2
"""Segments before one that decide on the space between (joining.py)."""


class TranscriptEvents:
    """The events of one stream; it knows what was said already.

    Args:
        known: speakers' names that stand as they are; nobody else is called so.
        logprobs: whether the tokens' probabilities are told.
    """

    def __init__(self, known: Collection[str] = (), *, logprobs: bool = False) -> None:
        self._with_logprobs = logprobs
        self._logprobs: list[dict[str, Any]] = []
        self._text: list[str] = []
        self._last: deque[str] = deque(maxlen=_CONTEXT)
        self._diarized = DiarizedSegments(known)

    def deltas(self, segments: Iterable[Segment]) -> list[dict[str, Any]]:
        """New text, with the space that goes before it, if one does."""
        events = []
        for segment in segments:
            delta = pieces([*self._last, segment.text])[-1]
            self._last.append(segment.text)
            self._text.append(delta)
            event: dict[str, Any] = {"type": "transcript.text.delta", "delta": delta}
            if self._with_logprobs:
                event["logprobs"] = logprobs_of(segment)
                self._logprobs += event["logprobs"]
            events.append(event)
        return events

    def segments(self, segments: Iterable[Segment]) -> list[dict[str, Any]]:
        """New segments whose speakers are known."""
        return [self._diarized.add(segment) for segment in segments]

    def done(self, transcript: Transcript) -> dict[str, Any]:
        """The end: all deltas in one, and the language of the transcript, where that is known.

        There is no `usage`: OpenAI's counts tokens here, which it alone bills.
        """
        answer: dict[str, Any] = {"type": "transcript.text.done", "text": "".join(self._text)}
        if transcript.language:
            answer["languages"] = languages_of(transcript)
        return answer | ({"logprobs": self._logprobs} if self._with_logprobs else {})

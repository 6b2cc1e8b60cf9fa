"""What a service tells of a recording while it works on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from proxy_app.speech import Segment, Times, Transcript


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is."""

    stage: str
    """"waiting" and others: for people."""
    done_s: float
    """Seconds of the recording."""
    total_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """New segments of text, in order; nobody knows yet who spoke."""

    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Attributed:
    """The next segments of the answer, with their speakers: the text that was heard, cut anew."""

    until_s: float
    """The speakers are known up to here."""
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class End:
    """The whole answer; nothing follows."""

    transcript: Transcript
    answer: dict[str, Any]
    """The service's own, for what a transcript has no place for."""
    times: Times = Times.WORDS
    """Which of the transcript's times are a recogniser's own; others are made up."""


Event = Progress | Heard | Attributed | End

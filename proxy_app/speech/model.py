"""The records that the speech functions take and give. Every time is in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Logprob:
    """How likely a recogniser found one of its tokens, which may be less than a character.

    Attributes:
        data: the token's bytes, with the space that goes before a word.
        logprob: the natural logarithm of its probability.
    """

    data: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Token:
    """A word as a recogniser gave it.

    The text may carry a leading space or not; the times may be missing, NaN, negative or reversed.
    """

    text: str
    start: float | None = None
    end: float | None = None
    logprobs: tuple[Logprob, ...] = ()
    """Of what it is made of, where that was asked for."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of speech of one speaker, as a diarizer gave it."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Word:
    """A word with usable times (0 <= start <= end) and, where it is known, its speaker."""

    text: str
    start: float
    end: float
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Decoding:
    """What Whisper tells about one of its segments; the defaults say that nothing is known."""

    seek: int = 0
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float | None = None
    no_speech_prob: float = 0.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text of one speaker; `words` is empty where no word times are known.

    `logprobs` are those of its tokens, where they were asked for and the recogniser has any.
    """

    start: float
    end: float
    speaker: str | None
    text: str
    words: tuple[Word, ...] = ()
    decoding: Decoding | None = None
    logprobs: tuple[Logprob, ...] = ()


@dataclass(frozen=True, slots=True)
class DroppedTurn:
    """A turn that the merge could not use, and the reason in words."""

    turn: Turn
    reason: str


@dataclass(frozen=True, slots=True)
class Merged:
    """Words attributed to speakers.

    Attributes:
        segments: in the order of their first words.
        speakers: "Speaker_0", "Speaker_1" and so on, in order of appearance in the words.
        labels: each of those speakers with the diarizer's own label for it.
        dropped_turns: the turns that could not be used, in the order given.
    """

    segments: tuple[Segment, ...]
    speakers: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    dropped_turns: tuple[DroppedTurn, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the renderers take: segments with or without speakers and words.

    Attributes:
        segments: in the order of their starts.
        duration: of the audio, in seconds.
        language: an ISO 639 code as Whisper has it ("en"), or "" where it is not known.
    """

    segments: tuple[Segment, ...]
    duration: float
    language: str = ""

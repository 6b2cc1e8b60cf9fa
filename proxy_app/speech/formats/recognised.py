"""What Parakeet servers answer: the words of a recording, in the shapes that are about.

Ours answers verbose_json as OpenAI has it. Others call a word's text `text`, put words into their
segments or below `timestamps`, leave times out, fill them with zeros or with one segment from 0 to
0, or answer SubRip whatever they are asked for. What has no times gets them by its length, and
`Recognised.times` says so: they are good for telling words apart, not for showing them to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from proxy_app.speech.formats.errors import FormatError
from proxy_app.speech.formats.reading import finite, read_list, read_text
from proxy_app.speech.joining import join
from proxy_app.speech.languages import language_code
from proxy_app.speech.merging import merge
from proxy_app.speech.model import Segment, Token, Word
from proxy_app.speech.repair import repair
from proxy_app.speech.timing import timed_words, with_words

_BEYOND_S = 1.0
"""A time so far behind the recording's end is none: some servers count nanoseconds."""
_LONGEST_SEGMENT_S = 30.0
"""One segment of all that is heard, and longer than this, is the recording's length and no time."""
_CUE = re.compile(
    r"^(?:(\d+):)?(\d+):(\d+[.,]\d+)[ \t]*-->[ \t]*(?:(\d+):)?(\d+):(\d+[.,]\d+)[^\n]*\n"
    r"((?:[^\n]+(?:\n|\Z))*)",
    re.MULTILINE,
)
"""One of SubRip or WebVTT: its times and its lines."""


class Times(IntEnum):
    """Of what a recogniser has told when it is said; the more, the greater."""

    NONE = 0
    SEGMENTS = 1
    WORDS = 2


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a recogniser heard in a recording, or in a piece of one; times in seconds."""

    tokens: tuple[Token, ...] = ()
    """Its words, or parts of words, as `merge` takes them."""
    segments: tuple[Segment, ...] = ()
    """The same as text, without speakers."""
    language: str = ""
    times: Times = Times.WORDS
    """Which of the times are the recogniser's own; where it heard nothing none are missing."""

    def with_words(self) -> tuple[Segment, ...]:
        """The segments, with their words where the recogniser has told the times of these."""
        if self.times < Times.WORDS:
            return self.segments
        words = [
            Word(word.piece.strip(), word.start, word.end) for word in repair(self.tokens, 0.0, 0.0)
        ]
        return tuple(with_words(self.segments, words))

    def later(self, by_s: float) -> Recognised:
        """The same, so many seconds later."""
        return Recognised(
            tuple(Token(t.text, _sum(t.start, by_s), _sum(t.end, by_s)) for t in self.tokens),
            tuple(Segment(s.start + by_s, s.end + by_s, None, s.text) for s in self.segments),
            self.language,
            self.times,
        )


def from_recogniser(answer: Mapping[str, Any], duration_s: float) -> Recognised:
    """Read the answer of a Parakeet server for so many seconds of audio.

    Raises:
        FormatError: nothing in it is a transcript.
    """
    if not any(key in answer for key in ("text", "segments", "words", "timestamps")):
        raise FormatError("there is no text")
    text = " ".join(read_text(answer, "text").split())
    segments = _segments(answer, duration_s)
    tokens = _tokens(answer, duration_s)
    times = Times.WORDS if tokens else Times.SEGMENTS if segments else Times.NONE
    if not segments:
        segments = _made_of(tokens, text, duration_s)
    # Times may be missing, words may not.
    if _letters(tokens) < sum(_count(segment.text) for segment in segments):
        times = min(times, Times.SEGMENTS if _segments(answer, duration_s) else Times.NONE)
        tokens = [
            Token(word.text, word.start, word.end)
            for segment in segments
            for word in timed_words(segment)
        ]
    language = language_code(read_text(answer, "language")) or ""
    known = times if segments else Times.WORDS
    return Recognised(tuple(tokens), tuple(segments), language, known)


def _made_of(tokens: Sequence[Token], text: str, duration_s: float) -> list[Segment]:
    """Segments of words with times; where these do not spell the text, or there are none, one."""
    merged = merge(tokens, ()).segments
    spelt = " ".join(segment.text for segment in merged)
    if merged and "".join(spelt.split()) in ("".join(text.split()), ""):
        return [replace(segment, speaker=None, words=()) for segment in merged]
    text = text or join(token.text for token in tokens)
    if not text:
        return []
    start, end = (merged[0].start, merged[-1].end) if merged else (0.0, duration_s)
    return [Segment(start, max(start, end), None, text)]


def _segments(answer: Mapping[str, Any], duration_s: float) -> list[Segment]:
    """The segments that have text, if their times are any good."""
    lines = read_text(answer, "text").replace("\r\n", "\n")
    cues = [_cue(match) for match in _CUE.finditer(lines)]
    entries = [(*_span(entry), _text(entry)) for entry in _listed(answer, "segment")]
    found = [(start, end, text) for start, end, text in cues or entries if text]
    spans = [(start, end) for start, end, _ in found]
    usable = _usable(spans, duration_s)
    if not usable:
        return []
    return [Segment(*span, None, text) for span, (_, _, text) in zip(usable, found, strict=True)]


def _usable(
    spans: Sequence[tuple[float | None, float | None]], duration_s: float
) -> list[tuple[float, float]]:
    """The spans, or none where they are no times.

    One is missing, or all are empty or begin at the same moment, or the only one is the recording.
    """
    known = [
        (start, end)
        for start, end in spans
        if start is not None and end is not None and 0 <= start <= end <= duration_s + _BEYOND_S
    ]
    are_placeholders = len(known) > 1 and len({start for start, _ in known}) == 1
    if len(known) < len(spans) or are_placeholders or all(start == end for start, end in known):
        return []
    start, end = known[0]
    if len(known) == 1 and start == 0 and end >= max(_LONGEST_SEGMENT_S, 0.98 * duration_s):
        return []
    return known


def _tokens(answer: Mapping[str, Any], duration_s: float) -> list[Token]:
    """The words, if at least some of them have times; the others get theirs by `merge`."""
    segments = read_list(answer, "segments")
    entries = _listed(answer, "word") or [
        word for segment in segments for word in read_list(segment, "words")
    ]
    tokens = []
    for entry in entries:
        span = _span(entry)
        latest = duration_s + _BEYOND_S
        is_within = all(time is None or 0 <= time <= latest for time in span)
        tokens.append(Token(_text(entry), *(span if is_within else (None, None))))
    timed = [token for token in tokens if token.start is not None]
    are_zeros = all(not token.start and not token.end for token in timed)
    are_placeholders = len(timed) > 1 and len({token.start for token in timed}) == 1
    return [] if are_zeros or are_placeholders else tokens


def _listed(answer: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    """The entries of `words` or `segments`, or of `timestamps` as NeMo names them."""
    timestamps = answer.get("timestamps")
    inner = timestamps if isinstance(timestamps, dict) else {}
    return read_list(answer, f"{kind}s") or read_list(inner, kind)


def _text(entry: Mapping[str, Any]) -> str:
    """The text of a word or segment, with the space before it, which may mean something."""
    return read_text(entry, "word") or read_text(entry, "text") or read_text(entry, "segment")


def _span(entry: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return finite(entry.get("start")), finite(entry.get("end"))


def _cue(match: re.Match[str]) -> tuple[float, float, str]:
    hours, minutes, seconds, *end, lines = match.groups()
    return _clock(hours, minutes, seconds), _clock(*end), " ".join(lines.split())


def _clock(hours: str | None, minutes: str, seconds: str) -> float:
    return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))


def _letters(tokens: Sequence[Token]) -> int:
    return sum(_count(token.text) for token in tokens)


def _count(text: str) -> int:
    return sum(map(str.isalnum, text))


def _sum(time: float | None, by_s: float) -> float | None:
    return None if time is None else time + by_s

# ruff: noqa: RUF001 - the punctuation of other scripts is meant
"""Segments made of words: they end where sentences and pauses do, wherever the chunks were cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from images.serving.heard import Heard
from proxy_app.speech import Decoding, Logprob, Segment, Token, Word

PAUSE_S = 1.0
"""A longer pause ends a segment."""
LONGEST_S = 15.0
LONGEST_WORDS = 30
"""What would be longer, or have more words with a space before them, is cut at its best pause."""

_SENTENCE_END = re.compile(r"[.?!。？！｡…؟।]+[\"'”’»›)\]」』）]*$")
# A point belongs to these, and to letters with a point each (J. S. Bach, e.g., U.S.).
_ABBREVIATION = re.compile(
    r"^\W*(?:(?:mr|mrs|ms|dr|prof|st|jr|sr|vs|fig|approx|ca|bzw|usw|nr|hr|fr|mme?|sra?)"
    r"|(?:[^\W\d_]\.)*[^\W\d_])\.$",
    re.IGNORECASE,
)

Encode = Callable[[str], Sequence[int]]
"""Given a text, Whisper's tokens for it."""


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A word with usable times, and how the chunk that it is from was decoded."""

    text: str
    start: float
    end: float
    decoding: Decoding
    logprobs: tuple[Logprob, ...]

    @property
    def is_marked(self) -> bool:
        """Whether a space goes before it."""
        return self.text[:1].isspace()

    @property
    def may_begin(self) -> bool:
        """Whether a segment can begin with it: not what is glued on (3 .5, U .S), but 日 can."""
        return self.is_marked or not self.text[:1].isascii()


class SegmentBuilder:
    """Takes what was heard, chunk by chunk, and gives segments as they are finished.

    Args:
        encode: fills the segments' tokens.
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._words: list[_Spoken] = []

    def add(self, heard: Heard) -> list[Segment]:
        """The segments that are finished by the words of the next chunk."""
        finished: list[Segment] = []
        for token in heard.tokens:
            word = _spoken(token, heard)
            if word.may_begin and (self._has_ended() or self._pauses_before(word)):
                finished += self.flush()
            self._words.append(word)
            while _is_long(self._words) and (cut := _best_cut(self._words)):
                finished.append(self._finish(cut))
        if self._has_ended():
            finished += self.flush()
        return finished

    def flush(self) -> list[Segment]:
        """What is left, once nothing more comes."""
        return [self._finish(len(self._words))] if self._words else []

    def _pauses_before(self, word: _Spoken) -> bool:
        return bool(self._words) and word.start - self._words[-1].end > PAUSE_S

    def _has_ended(self) -> bool:
        """Whether the last word ends a sentence."""
        if not self._words or not _SENTENCE_END.search(self._words[-1].text):
            return False
        begin = len(self._words) - 1
        while begin and not self._words[begin].may_begin:
            begin -= 1
        spelt = "".join(word.text for word in self._words[begin:])
        return not _ABBREVIATION.match(spelt.strip())

    def _finish(self, count: int) -> Segment:
        words, self._words = self._words[:count], self._words[count:]
        spelt = "".join(word.text for word in words)
        return Segment(
            start=words[0].start,
            end=max(word.end for word in words),
            speaker=None,
            text=spelt.strip(),
            words=tuple(Word(word.text.strip(), word.start, word.end) for word in words),
            decoding=replace(words[0].decoding, tokens=tuple(self._encode(spelt))),
            logprobs=tuple(each for word in words for each in word.logprobs),
        )


def _spoken(token: Token, heard: Heard) -> _Spoken:
    start = heard.chunk.start_s if token.start is None else token.start
    end = start if token.end is None else max(start, token.end)
    return _Spoken(token.text, start, end, heard.decoding, token.logprobs)


def _is_long(words: Sequence[_Spoken]) -> bool:
    marked = sum(word.is_marked for word in words)
    return words[-1].end - words[0].start > LONGEST_S or marked > LONGEST_WORDS


def _best_cut(words: Sequence[_Spoken]) -> int:
    """How many words go before the longest pause of the later half, the last of equals; or 0."""
    places = [place for place in range(1, len(words)) if words[place].may_begin]
    later = [place for place in places if place >= len(words) // 2] or places
    return max(later, key=lambda place: (_pause(words, place), place), default=0)


def _pause(words: Sequence[_Spoken], place: int) -> tuple[float, bool]:
    """The pause before a word, in tenths of a second, and whether a clause ends there."""
    seconds = max(0.0, words[place].start - words[place - 1].end)
    return round(seconds, 1), words[place - 1].text[-1:] in ",;:，、；："

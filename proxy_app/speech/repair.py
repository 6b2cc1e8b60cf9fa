"""Tokens with any times to words with usable ones: finite, ordered, of a possible length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeGuard

from proxy_app.speech.joining import pieces
from proxy_app.speech.model import Token

LATEST = 1e7
"""Seconds (115 days): a time beyond it is a mistake, not a time."""

# How long a word is taken to last where nobody says.
_USUAL_BASE = 0.1
_USUAL_A_CHARACTER = 0.06
# How long a word can last at most; "1999" is said as three words.
_LONGEST_BASE = 1.2
_LONGEST_A_CHARACTER = 0.1
_LONGEST_A_DIGIT = 0.6
_LONGEST = 15.0


class TimedWord(NamedTuple):
    """A word in its place; `piece` is its text behind the space that goes before it, if any."""

    piece: str
    start: float
    end: float


class _Spoken(NamedTuple):
    text: str
    start: float | None
    end: float | None


def is_time(value: float | None) -> TypeGuard[float]:
    """Whether a number of seconds can be used as a time."""
    return value is not None and math.isfinite(value) and abs(value) <= LATEST


def repair(tokens: Iterable[Token], first: float, last: float) -> list[TimedWord]:
    """Every token that has text, in order of time, each with 0 <= start <= end.

    Tokens with a time are sorted by it (stable); those without stay behind the token before them
    and get times between their neighbours. Where no token has a time their starts are spread from
    `first` to `last`. A word that lasts longer than it can be said ends earlier: recognisers
    stretch the last word before a silence.
    """
    spoken = _in_order([_checked(token) for token in tokens if token.text.strip()])
    texts = pieces([item.text for item in spoken])
    starts = [item.start for item in spoken if item.start is not None]
    if not starts:
        return _laid_out(texts, first, last if last > first else None)
    words: list[TimedWord] = []
    waiting: list[str] = []
    seen = 0
    for text, item in zip(texts, spoken, strict=True):
        if item.start is None:
            waiting.append(text)
            continue
        if waiting:
            words += _between(waiting, words[-1].end if words else None, item.start)
            waiting = []
        seen += 1
        following = starts[seen] if seen < len(starts) else math.inf
        words.append(TimedWord(text, item.start, _end(text, item.start, item.end, following)))
    return words + _laid_out(waiting, words[-1].end, None)


def _checked(token: Token) -> _Spoken:
    """The token with None for what is no time; a lone end gives a start."""
    start = max(0.0, token.start) if is_time(token.start) else None
    end = max(0.0, token.end) if is_time(token.end) else None
    if end is None or start is None:
        return _Spoken(
            token.text, start if end is None else max(0.0, end - _usual(token.text)), end
        )
    return _Spoken(token.text, start, end if end >= start else None)


def _in_order(spoken: Sequence[_Spoken]) -> list[_Spoken]:
    """Sorted by start; an item without one moves with the item before it."""
    keys: list[float] = []
    for item in spoken:
        keys.append((keys[-1] if keys else -1.0) if item.start is None else item.start)
    return [spoken[index] for index in sorted(range(len(spoken)), key=keys.__getitem__)]


def _end(text: str, start: float, end: float | None, following: float) -> float:
    if end is None:
        end = start + _usual(text)
        return min(end, following) if following > start else end
    return _capped(text, start, end)


def _capped(text: str, start: float, end: float) -> float:
    """The end of a word, or the latest that it can have."""
    if end <= start + _LONGEST_BASE:
        return end
    digits = sum(map(str.isdigit, text))
    letters = len(text.strip()) - digits
    longest = _LONGEST_BASE + _LONGEST_A_CHARACTER * letters + _LONGEST_A_DIGIT * digits
    return min(end, start + min(longest, _LONGEST))


def _between(texts: Sequence[str], after: float | None, before: float) -> list[TimedWord]:
    """Words without times, said on from the word before them, or up to the first word of all."""
    total = sum(map(_usual, texts))
    if after is None:
        return _laid_out(texts, max(0.0, before - total), before)
    low = min(after, before)
    return _laid_out(texts, low, min(before, low + total))


def _laid_out(texts: Sequence[str], start: float, end: float | None) -> list[TimedWord]:
    """Words that begin one after the other, by length; without an end each lasts as usual."""
    total = sum(map(_usual, texts))
    scale = 1.0 if end is None else (end - start) / total if total else 0.0
    words = []
    for text in texts:
        following = start + scale * _usual(text)
        words.append(TimedWord(text, start, _capped(text, start, following)))
        start = following
    return words


def _usual(text: str) -> float:
    """Seconds a word usually lasts."""
    return _USUAL_BASE + _USUAL_A_CHARACTER * len(text.strip())

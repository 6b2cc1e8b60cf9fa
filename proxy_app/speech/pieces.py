"""A text in pieces that a voice is given one by one, and about how long it takes to say them.

Magpie stops after 20 s of sound, in the middle of a word; and the first piece can be heard while
the others are made.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

_ABBREVIATIONS = frozenset(
    {
        *("mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "etc", "e.g", "i.e", "cf", "no"),
        *("vol", "fig", "approx", "dept", "est", "inc", "ltd", "co", "z.b", "d.h", "u.a", "bzw"),
        *("ca", "evtl", "ggf", "usw", "nr", "str", "bspw", "p.ej", "sra", "dra", "av"),
    }
)
# The stops, commas and brackets of Chinese and Japanese have no blank behind them.
_WIDE_STOPS, _WIDE_COMMAS, _WIDE_CLOSING = (
    "\u3002\uff01\uff1f", "\uff0c\u3001\uff1b\uff1a", "\u300d\u300f\u201d\uff09"
)  # fmt: skip
_CLOSING = "\"'\u201d\u2019\u00bb)\\]"
_SENTENCE_END = re.compile(
    rf"[.!?\u2026\u061f\u0964]++[{_CLOSING}]*+(?=\s)|[{_WIDE_STOPS}]+[{_WIDE_CLOSING}]*|\n+"
)
_CLAUSE_END = re.compile(
    rf"[,;:\u060c][{_CLOSING}]*(?=\s)|[{_WIDE_COMMAS}]|\s[\u2013\u2014-](?=\s)"
)
_WIDE = re.compile(
    "[\u1100-\u11ff\u3001-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef\U00020000-\U0003ffff]"
)
_ACRONYM = re.compile(r"\b[A-Z\u00c4\u00d6\u00dc]{2,6}\b")

_PARAGRAPH_S, _SENTENCE_S, _CLAUSE_S = 0.4, 0.2, 0.05
"""Silences after a piece that ends there; voices end with a little of their own."""
_SHORT_S = 2.0
"""What is shorter voices garble or cut: it is said together with the next sentence."""
_LOOK = 40
"""Characters around a full stop that are looked at: no abbreviation is longer."""
_LONGEST_NUMBER = 2
"""Digits of an item's number."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that is given to a voice at once."""

    text: str
    pause_s: float
    """The silence after it, in seconds."""


def pieces(text: str, most_s: float) -> list[Piece]:
    """Cut a text at its sentences, and sentences that are too long at clauses, or between words.

    The first piece is the first sentence, so that it is soon heard; those after it are as many
    sentences of a paragraph as fit.

    Args:
        text: of `plain`'s.
        most_s: how long a piece may take to say, by `longest_s`, in seconds.
    """
    found: list[Piece] = []
    parts = list(_parts(text, most_s))
    for number, part in enumerate(parts, start=1):
        if found and _belongs(found, part, most_s, is_last=number == len(parts)):
            found[-1] = replace(part, text=_joined(found[-1].text, part.text))
        else:
            found.append(part)
    if found:
        found[-1] = replace(found[-1], pause_s=0.0)
    return found


def longest_s(text: str) -> float:
    """How long a text takes to say at an ordinary pace, in seconds, rather more than less."""
    seconds = 0.2 * sum(len(match[0]) for match in _ACRONYM.finditer(text))
    for char in text:
        if char.isdigit():
            seconds += 0.3
        elif char.isalpha() or unicodedata.category(char)[0] == "M":
            seconds += 0.22 if _WIDE.match(char) else 0.07
        elif char in ".!?\u2026" or char in _WIDE_STOPS:
            seconds += 0.3
        elif not char.isspace():
            seconds += 0.15
    return seconds


def _parts(text: str, most_s: float) -> Iterator[Piece]:
    """Sentences, or what had to be made of those that are too long."""
    for paragraph in re.split(r"\n\s*\n", text):
        sentences = list(_cut(paragraph, _sentence_ends(paragraph)))
        for number, sentence in enumerate(sentences, start=1):
            *firsts, last = _fitting(sentence, most_s)
            yield from (Piece(part, _CLAUSE_S) for part in firsts)
            yield Piece(last, _PARAGRAPH_S if number == len(sentences) else _SENTENCE_S)


def _belongs(found: list[Piece], part: Piece, most_s: float, *, is_last: bool) -> bool:
    """Whether the next part is said in one breath with the last piece."""
    last = found[-1]
    seconds = longest_s(last.text), longest_s(part.text)
    if sum(seconds) > most_s:
        return False
    if seconds[0] < _SHORT_S or (is_last and seconds[1] < _SHORT_S):
        return True
    return len(found) > 1 and (last.pause_s < _PARAGRAPH_S or seconds[1] < _SHORT_S)


def _joined(one: str, other: str) -> str:
    """Two parts as one; after a heading or an item that ends in no sign there is one."""
    if _WIDE.match(one[-1]):
        return one + other
    sign = ("," if other[0].islower() else ".") if one[-1].isalnum() else ""
    return f"{one}{sign} {other}"


def _sentence_ends(text: str) -> Iterator[int]:
    for match in _SENTENCE_END.finditer(text):
        if match[0][0] != "." or not _is_inside(text, match):
            yield match.end()


def _is_inside(text: str, stop: re.Match[str]) -> bool:
    """Whether a full stop belongs to an abbreviation, an initial or the number of an item."""
    line = text[max(0, stop.start() - _LOOK) : stop.start()].rpartition("\n")[2].strip()
    word = line.rpartition(" ")[2].lstrip("(\"'\u201e\u201c\u00ab").lower()
    if text[stop.end() : stop.end() + _LOOK].lstrip()[:1].islower() or word in _ABBREVIATIONS:
        return True
    if len(word) == 1 and word.isalpha():
        return True
    return word == line and word.isdigit() and len(word) <= _LONGEST_NUMBER


def _fitting(sentence: str, most_s: float) -> Iterator[str]:
    """A sentence in parts that are not too long: of clauses, else of words, else of letters."""
    if longest_s(sentence) <= most_s:
        yield sentence
        return
    clauses = list(_cut(sentence, (match.end() for match in _CLAUSE_END.finditer(sentence))))
    parts, between = (clauses, None) if len(clauses) > 1 else (sentence.split(), " ")
    if len(parts) == 1:
        parts, between = list(sentence), ""
    held = ""
    for part in parts:
        both = (_joined(held, part) if between is None else held + between + part) if held else part
        if held and longest_s(both) > most_s:
            yield from _fitting(held, most_s)
            both = part
        held = both
    # A single letter is no longer than any piece may be.
    yield from _fitting(held, most_s) if len(held) > 1 else [held]


def _cut(text: str, ends: Iterable[int]) -> Iterator[str]:
    start = 0
    for end in [*ends, len(text)]:
        if part := text[start:end].strip():
            yield part
        start = end

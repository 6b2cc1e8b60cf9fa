# ruff: noqa: RUF001 - typographic characters are what this file is about
"""Segments to the pieces that a line can be broken between, each with its time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from proxy_app.speech.joining import CLOSING, OPENING
from proxy_app.speech.model import Segment, Word
from proxy_app.speech.scripts import is_chinese_japanese, is_mark

# Small kana, the long-vowel mark and iteration marks do not begin a line (kinsoku).
_CLINGING = CLOSING | frozenset("ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶー々ゝゞヽヾ・～")


class Unit(NamedTuple):
    """A word, or a character of a script without spaces; times in seconds."""

    text: str
    start: float
    end: float
    is_spaced: bool  # a space goes before it


def timed_words(segment: Segment) -> tuple[Word, ...]:
    """The segment's words, or where none are known its text by spaces, the time shared out."""
    if segment.words:
        return segment.words
    spans = zip(texts := segment.text.split(), _shared_out(texts, segment), strict=True)
    return tuple(Word(text, start, end, segment.speaker) for text, (start, end) in spans)


def with_words(segments: Sequence[Segment], words: Sequence[Word]) -> list[Segment]:
    """The segments, each with the words whose middle lies behind its start."""
    starts = [segment.start for segment in segments]
    shared: list[list[Word]] = [[] for _ in segments]
    for word in words:
        index = bisect_right(starts, (word.start + word.end) / 2) - 1
        shared[max(0, index)].append(word)
    return [
        replace(segment, words=tuple(own)) for segment, own in zip(segments, shared, strict=True)
    ]


def timed_units(segment: Segment) -> list[Unit]:
    """The segment's text in units. The text is what counts: words only lend their times.

    Where the words do not spell the text (there are none, or they were normalised), the time of the
    segment is shared out by length.
    """
    parts = [
        (part, index == 0)
        for chunk in segment.text.split()
        for index, part in enumerate(_unbroken(chunk))
    ]
    texts = [text for text, _ in parts]
    spans = _from_words(texts, segment.words) or _shared_out(texts, segment)
    return [
        Unit(text, start, end, is_spaced)
        for (text, is_spaced), (start, end) in zip(parts, spans, strict=True)
    ]


def _unbroken(chunk: str) -> Iterator[str]:
    """Text without spaces in the pieces that a line may be broken between."""
    begin = 0
    for index, (left, right) in enumerate(pairwise(chunk), 1):
        if (
            (is_chinese_japanese(left) or is_chinese_japanese(right))
            and left not in OPENING
            and right not in _CLINGING
            and not is_mark(right)
        ):
            yield chunk[begin:index]
            begin = index
    yield chunk[begin:]


def _from_words(texts: list[str], words: tuple[Word, ...]) -> list[tuple[float, float]] | None:
    """The spans of texts by the words that have the same letters, or None if they do not."""
    letters = "".join(filter(str.isalnum, "".join(texts)))
    if not letters or letters != "".join(filter(str.isalnum, "".join(w.text for w in words))):
        return None
    starts: list[float] = []  # of each letter
    ends: list[float] = []
    for word in words:
        count = sum(map(str.isalnum, word.text))
        step = (word.end - word.start) / count if count else 0.0
        starts += (word.start + step * n for n in range(count))
        ends += (word.end - step * (count - 1 - n) for n in range(count))
    spans = []
    begin = 0
    for text in texts:
        stop = begin + sum(map(str.isalnum, text))
        if stop > begin:
            spans.append((starts[begin], ends[stop - 1]))
        else:  # a dash or a note between two words
            spans.append((ends[begin - 1],) * 2 if begin else (starts[0],) * 2)
        begin = stop
    return spans


def _shared_out(texts: list[str], segment: Segment) -> list[tuple[float, float]]:
    """The segment's time, to each text by its length."""
    step = (segment.end - segment.start) / max(1, sum(map(len, texts)))
    spans = []
    start = segment.start
    for text in texts:
        end = start + step * len(text)
        spans.append((start, end))
        start = end
    return spans

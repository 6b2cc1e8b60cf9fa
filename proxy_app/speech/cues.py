# ruff: noqa: RUF001 - typographic characters are what this file is about
"""Segments to subtitles: what is shown together, how its lines break, and from when to when.

The limits are those of broadcasters' style guides: two lines of 42 characters (16 wide ones), one
to seven seconds, twenty characters a second where the speech allows it. Wide (Chinese, Japanese,
Korean) and narrow characters may share a line: a wide one takes 21 parts of 336, a narrow one 8.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise

from proxy_app.speech.joining import pieces
from proxy_app.speech.model import Segment
from proxy_app.speech.scripts import is_mark, is_wide
from proxy_app.speech.timing import Unit, timed_units

LINE = 336
"""Parts in a line: 42 narrow characters, or 16 wide ones."""
_NARROW, _WIDE = 8, 21
_LONGEST_NAME = LINE // 2  # a speaker's, in a label; what is over becomes …
_PARTS_A_SECOND = 20 * _NARROW

SHORTEST_S, LONGEST_S = 1.0, 7.0
_SILENCE_S = 1.5  # no cue goes on over a longer silence
_EARLY_S = _LATE_S = 0.5  # how far a cue may be moved off its speech to be long enough
_VISIBLE_S = 0.2  # no cue is shorter, however fast the speakers change

# What it costs to end a cue or a line after a word, and what else can be wrong with a cue.
_AFTER_SENTENCE, _AFTER_CLAUSE, _AFTER_PAUSE, _ELSEWHERE = 0.0, 1.0, 1.0, 3.0
_EACH_CUE = 1.5
_HURRIED = 2.0
_PAUSE_S = 0.3
_SENTENCE_END = re.compile(r"[.!?…。！？؟।][\"'”’»)\]」』）]*$")
_CLAUSE_END = re.compile(r"[,;:—–،؛、，；：][\"'”’»)\]」』）]*$")


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown from `start` to `end`, in seconds: one or two lines of one speaker."""

    start: float
    end: float
    lines: tuple[str, ...]
    speaker: str | None


def cues(
    segments: Sequence[Segment], label: Callable[[str], str] = lambda _speaker: ""
) -> list[Cue]:
    """The cues of a transcript, in order, none overlapping another.

    Args:
        segments: of any length; consecutive ones of one speaker run on.
        label: the text that goes before the first line of a speaker's cue, from the speaker's
            name, which is shortened to half a line; the lines with it keep to the limits.
    """
    spoken = []
    ordered = sorted(segments, key=lambda segment: segment.start)
    for speaker, run in groupby(ordered, key=lambda segment: segment.speaker):
        prefix = label(_shortened(speaker)) if speaker is not None else ""
        units = _units(list(run), LINE - width(prefix))
        for units_of_stretch in _stretches(units):
            stretch = _Stretch(units_of_stretch, prefix)
            spoken += [stretch.cue(begin, stop, speaker) for begin, stop in stretch.cut()]
    return list(_scheduled(sorted(spoken, key=lambda cue: cue.start)))


def width(text: str) -> int:
    """The parts of a line that a text takes."""
    return sum(_WIDE if is_wide(char) else _NARROW for char in text)


def _shortened(name: str) -> str:
    """A name that leaves room for words beside it."""
    if width(name) <= _LONGEST_NAME:
        return name
    kept = bisect_right(list(accumulate(map(width, name))), _LONGEST_NAME - _NARROW)
    return name[:kept].rstrip() + "…"


def _units(run: Sequence[Segment], limit: int) -> list[Unit]:
    """The units of consecutive segments, none wider than a line."""
    units: list[Unit] = []
    for piece, segment in zip(pieces([s.text for s in run]), run, strict=True):
        for index, unit in enumerate(timed_units(segment)):
            is_spaced = unit.is_spaced if index else piece.startswith(" ")
            units += _narrowed(unit._replace(is_spaced=is_spaced), limit)
    return units


def _narrowed(unit: Unit, limit: int) -> Iterator[Unit]:
    """The unit, or if it is wider than a line, pieces of it that are not."""
    text = unit.text
    step = (unit.end - unit.start) / len(text)
    cuts = [0]
    parts = 0
    for index, char in enumerate(text):
        parts += width(char)
        if parts > limit:
            at = index
            while is_mark(text[at]) and at > cuts[-1] + 1:
                at -= 1
            cuts.append(index if is_mark(text[at]) else at)
            parts = width(text[cuts[-1] : index + 1])
    for begin, stop in pairwise([*cuts, len(text)]):
        start, end = unit.start + step * begin, unit.start + step * stop
        yield Unit(text[begin:stop], start, end, unit.is_spaced and not begin)


def _stretches(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """The units without the long silences."""
    begin = 0
    for index, (left, right) in enumerate(pairwise(units), 1):
        if right.start - left.end > _SILENCE_S:
            yield list(units[begin:index])
            begin = index
    if units:
        yield list(units[begin:])


class _Stretch:
    """What one speaker says without a long silence, and where it can be cut."""

    def __init__(self, units: Sequence[Unit], prefix: str) -> None:
        self._units = units
        self._prefix = prefix
        self._after = [_break_cost(left, right) for left, right in pairwise(units)] + [0.0]
        self._parts = [0]
        for unit in units:
            self._parts.append(self._parts[-1] + width(unit.text) + _NARROW * unit.is_spaced)
        self._first_line_ends = self._line_ends(LINE - width(prefix))
        self._second_line_ends = self._line_ends(LINE)

    def cut(self) -> list[tuple[int, int]]:
        """The cheapest cues, each the first of its units and the one after its last."""
        costs = [0.0]
        origins = [0]
        for stop in range(1, len(self._units) + 1):
            least, origin = math.inf, stop - 1
            for begin in range(stop - 1, -1, -1):
                if begin < stop - 1 and not self._is_possible(begin, stop):
                    break
                cost = costs[begin] + self._cost(begin, stop)
                if cost < least:
                    least, origin = cost, begin
            costs.append(least)
            origins.append(origin)
        spans = []
        stop = len(self._units)
        while stop:
            spans.append((origins[stop], stop))
            stop = origins[stop]
        return spans[::-1]

    def cue(self, begin: int, stop: int, speaker: str | None) -> Cue:
        """A cue with the times of its speech, its lines as even as their ends are good."""
        units = self._units[begin:stop]
        start, end = units[0].start, max(unit.end for unit in units)
        if self._first_line_ends[begin] >= stop:
            return Cue(start, end, (self._prefix + _text(units),), speaker)
        last = min(stop - 1, self._first_line_ends[begin])
        middle = min(
            (at for at in range(begin + 1, last + 1) if self._second_line_ends[at] >= stop),
            key=lambda at: self._unevenness(begin, at, stop) + self._after[at - 1] / 4,
        )
        lines = (self._prefix + _text(units[: middle - begin]), _text(units[middle - begin :]))
        return Cue(start, end, lines, speaker)

    def _is_possible(self, begin: int, stop: int) -> bool:
        if self._units[stop - 1].end - self._units[begin].start > LONGEST_S:
            return False
        middle = self._first_line_ends[begin]
        return stop <= middle or stop <= self._second_line_ends[middle]

    def _cost(self, begin: int, stop: int) -> float:
        parts = self._line(begin, stop)
        following = self._units[stop].start if stop < len(self._units) else math.inf
        seconds = following - self._units[begin].start
        is_hurried = seconds < max(SHORTEST_S, parts / _PARTS_A_SECOND)
        emptiness = max(0.0, 1 - parts / (2 * LINE))
        return self._after[stop - 1] + _EACH_CUE + _HURRIED * is_hurried + emptiness**2

    def _unevenness(self, begin: int, middle: int, stop: int) -> float:
        first = width(self._prefix) + self._line(begin, middle)
        return abs(first - self._line(middle, stop)) / LINE

    def _line(self, begin: int, stop: int) -> int:
        """The width of units on one line."""
        return self._parts[stop] - self._parts[begin] - _NARROW * self._units[begin].is_spaced

    def _line_ends(self, limit: int) -> list[int]:
        """For each unit the end of the line that it begins."""
        ends = []
        stop = 0
        for begin in range(len(self._units)):
            stop = max(stop, begin + 1)
            while stop < len(self._units) and self._line(begin, stop + 1) <= limit:
                stop += 1
            ends.append(stop)
        return [*ends, len(self._units)]


def _text(units: Sequence[Unit]) -> str:
    return "".join(" " * unit.is_spaced + unit.text for unit in units).strip()


def _break_cost(left: Unit, right: Unit) -> float:
    """What it costs to break between two units: least after a sentence."""
    if _SENTENCE_END.search(left.text):
        return _AFTER_SENTENCE
    if _CLAUSE_END.search(left.text):
        return _AFTER_CLAUSE
    return _AFTER_PAUSE if right.start - left.end >= _PAUSE_S else _ELSEWHERE


def _scheduled(spoken: Sequence[Cue]) -> Iterator[Cue]:
    """The cues with the times they are shown: long enough to read, none over another.

    A cue stays after its speech as long as it needs and nothing follows. One that would still be
    too short comes earlier or makes the next one come later, each by half a second at most.
    """
    free = 0.0
    for index, cue in enumerate(spoken):
        following = spoken[index + 1].start if index + 1 < len(spoken) else math.inf
        parts = sum(map(width, cue.lines))
        start = max(cue.start, free)
        needed = min(max(SHORTEST_S, parts / _PARTS_A_SECOND), LONGEST_S)
        end = min(max(cue.end, start + needed), start + LONGEST_S)
        if end > following:
            late = min(start + SHORTEST_S, following + _LATE_S)
            end = max(following, min(end, late), start + _VISIBLE_S)
        if end - start < SHORTEST_S:
            start = max(free, cue.start - _EARLY_S, end - SHORTEST_S)
        yield replace(cue, start=start, end=end)
        free = end

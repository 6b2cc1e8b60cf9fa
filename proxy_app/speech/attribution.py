"""Who said which word: from its overlap with the turns, and from the words around it.

A word costs its speaker nothing and anybody else up to 1, by how much less of it their turns
overlap; a change of speaker costs SWITCH, less where the words pause. The cheapest path over all
words (Viterbi) is the answer. So a word goes to the greatest overlap, a tie to the speaker of the
word before, and a turn that is a fraction of a word off takes no word along; but SWITCH is below a
half, so that one word in a turn of its own stays there. A word that no turn touches belongs to the
turn whose edge is nearest. An aside, a turn shorter than ASIDE_S while somebody else goes on,
keeps the words that lie within it. No more than CROWD turns that go on as a word begins count for
it, the last to end, and no more than CROWD that begin during it, the first.

The figures were tuned on one half of the AMI meetings and checked on the other (tests/bench).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
from typing import NamedTuple

from proxy_app.speech.model import Turn
from proxy_app.speech.repair import TimedWord

SWITCH = 0.45
"""What a change of speaker costs, in words given to the wrong speaker."""
PAUSE_S = 0.2
"""Seconds of silence between two words after which a change costs nothing."""
ASIDE_S = 1.0
"""Seconds that a turn within another speaker's turn may last to be an aside."""
CROWD = 8
"""How many turns that go on at once, and how many that begin during a word, are told apart."""

_SHORTEST_S = 0.02  # a shorter word is taken to be as long, so that it can overlap
_ROUNDING_S = 0.001  # RTTM files have milliseconds
_EQUAL = 1e-9  # costs that differ by less are the same


class _Interval(NamedTuple):
    """What one speaker says without a break."""

    start: float
    end: float
    speaker: str
    is_aside: bool = False


def attribute(words: Sequence[TimedWord], turns: Iterable[Turn]) -> list[str]:
    """The speaker of each word.

    Takes O((W + T) log T) steps whatever overlaps: overlapping turns of one speaker count as one,
    a word looks at 2 CROWD turns at most, and a turn that is left out for the CROWD that end after
    it would be left out for all later words, so it is not looked at again.

    Args:
        words: in order of their starts.
        turns: usable ones (finite, start < end) in any order, overlapping or not; at least one.
    """
    intervals = _with_asides(_united(turns))
    costs: dict[str, float] = {}  # of the cheapest path to a speaker, above the cheapest of all
    leader = ""
    origins: list[dict[str, str]] = []
    said_until = 0.0
    for word, misfits in zip(words, _misfits(words, intervals), strict=True):
        if misfits.keys() == costs.keys() == {leader}:  # most words: nobody else is near
            origins.append({leader: leader})
            said_until = max(said_until, word.end)
            continue
        switch = SWITCH * max(0.0, 1 - max(0.0, word.start - said_until) / PAUSE_S)
        said_until = max(said_until, word.end)
        reached: dict[str, float] = {}
        origin: dict[str, str] = {}
        for speaker in costs | misfits:
            stay = costs.get(speaker, math.inf)
            # As dear to be there already as to come now: come now, the word before keeps its own.
            origin[speaker] = speaker if stay < switch - _EQUAL else leader
            reached[speaker] = min(stay, switch) + misfits.get(speaker, 1.0)
        origins.append(origin)
        leader = min(reached, key=reached.__getitem__)
        least = reached[leader]
        # A path dearer than a change is never taken up again.
        costs = {s: cost - least for s, cost in reached.items() if cost - least <= SWITCH}
    path: list[str] = []
    for origin in reversed(origins):
        path.append(leader)
        leader = origin[leader]
    return path[::-1]


def _united(turns: Iterable[Turn]) -> list[_Interval]:
    """The turns by start, those of one speaker that overlap or touch made one."""
    by_speaker: dict[str, list[_Interval]] = defaultdict(list)
    for turn in sorted(turns, key=lambda turn: turn.start):
        own = by_speaker[turn.speaker]
        if own and turn.start <= own[-1].end:
            own[-1] = own[-1]._replace(end=max(own[-1].end, turn.end))
        else:
            own.append(_Interval(turn.start, turn.end, turn.speaker))
    return sorted(interval for own in by_speaker.values() for interval in own)


def _with_asides(intervals: Sequence[_Interval]) -> list[_Interval]:
    """The intervals, in order of start, with the asides among them marked."""
    result: list[_Interval] = []
    # Of all intervals so far, the last to end, and the last to end of all other speakers.
    last = other = _Interval(0.0, -math.inf, "")
    for interval in intervals:
        around = other if interval.speaker == last.speaker else last
        is_short = interval.end - interval.start < ASIDE_S
        result.append(interval._replace(is_aside=is_short and interval.end <= around.end))
        if interval.end > last.end:
            other = other if interval.speaker == last.speaker else last
            last = interval
        elif interval.end > other.end and interval.speaker != last.speaker:
            other = interval
    return result


def _misfits(words: Sequence[TimedWord], intervals: list[_Interval]) -> Iterator[dict[str, float]]:
    """For each word what it costs the speakers heard during it, or else the nearest: 0 to 1."""
    starts = [interval.start for interval in intervals]
    nearest = _Nearest(intervals, starts)
    going_on: list[_Interval] = []
    begun = 0
    for word in words:
        start, end = word.start, max(word.end, word.start + _SHORTEST_S)
        while begun < len(intervals) and intervals[begun].start <= start:
            going_on.append(intervals[begun])
            begun += 1
        going_on = [interval for interval in going_on if interval.end > start]
        if len(going_on) > CROWD:
            going_on = nlargest(CROWD, going_on, key=lambda interval: interval.end)
        beside = going_on
        if begun < len(intervals) and intervals[begun].start < end:
            stop = bisect_left(starts, end, begun, min(begun + CROWD, len(starts)))
            beside = going_on + intervals[begun:stop]
        if len(beside) == 1:
            yield {beside[0].speaker: 0.0}
            continue
        overlaps = _overlaps(_holding_asides(beside, start, end) or beside, start, end)
        if overlaps:
            greatest = max(overlaps.values())
            yield {speaker: 1 - overlap / greatest for speaker, overlap in overlaps.items()}
        else:
            yield dict.fromkeys(nearest.speakers(start, end), 0.0)


def _holding_asides(beside: Sequence[_Interval], start: float, end: float) -> list[_Interval]:
    return [
        interval
        for interval in beside
        if interval.is_aside
        and interval.start <= start + _ROUNDING_S
        and interval.end >= end - _ROUNDING_S
    ]


def _overlaps(beside: Iterable[_Interval], start: float, end: float) -> dict[str, float]:
    """Seconds of a span that each speaker's intervals overlap, for those who do."""
    overlaps: dict[str, float] = {}
    for interval in beside:
        overlap = min(interval.end, end) - max(interval.start, start)
        if overlap > 0:
            overlaps[interval.speaker] = overlaps.get(interval.speaker, 0.0) + overlap
    return overlaps


class _Nearest:
    """Finds the turns whose edges are nearest to a word that none touches."""

    def __init__(self, intervals: Sequence[_Interval], starts: Sequence[float]) -> None:
        self._intervals = intervals
        self._starts = starts
        self._last_to_end: list[_Interval] = []
        for interval in intervals:
            last = self._last_to_end[-1] if self._last_to_end else interval
            self._last_to_end.append(interval if interval.end > last.end else last)

    def speakers(self, start: float, end: float) -> list[str]:
        """The nearest speaker, or two where the turn before and the turn after are as near."""
        index = bisect_left(self._starts, end)
        found: list[tuple[float, str]] = []
        if index:
            before = self._last_to_end[index - 1]
            found.append((start - before.end, before.speaker))
        if index < len(self._intervals):
            after = self._intervals[index]
            found.append((after.start - end, after.speaker))
        least = min(found)[0]
        return [speaker for distance, speaker in found if distance <= least + _EQUAL]

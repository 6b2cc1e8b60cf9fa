"""Words of a recogniser and turns of a diarizer to segments that have one speaker each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from proxy_app.speech.attribution import attribute
from proxy_app.speech.model import DroppedTurn, Merged, Segment, Token, Turn, Word
from proxy_app.speech.repair import TimedWord, is_time, repair


def merge(tokens: Iterable[Token], turns: Iterable[Turn], *, max_gap_s: float = 1.5) -> Merged:
    """Give every word a speaker, and break at changes of speaker and at long gaps.

    No word is dropped, whatever its times: proxy_app.speech.repair says what becomes of unusable
    ones, proxy_app.speech.attribution how a speaker is found. Where there are words but no usable
    turns everything is said by Speaker_0. Takes O((W + T) log T) steps for W words and T turns, as
    in a crowd only a few turns (attribution.CROWD) count for a word.

    Args:
        tokens: the words in the recogniser's order; one without text carries no word.
        turns: in any order; they may overlap.
        max_gap_s: seconds of silence between two words that a segment may contain.
    """
    usable: list[Turn] = []
    dropped: list[DroppedTurn] = []
    for turn in turns:
        reason = _fault(turn)
        if reason:
            dropped.append(DroppedTurn(turn, reason))
        else:
            usable.append(Turn(max(0.0, turn.start), turn.end, turn.speaker))
    first = min((turn.start for turn in usable), default=0.0)
    last = max((turn.end for turn in usable), default=0.0)
    words = repair(tokens, first, last)
    labels = attribute(words, usable) if usable else [""] * len(words)
    numbered = {label: f"Speaker_{n}" for n, label in enumerate(dict.fromkeys(labels))}
    speakers = [numbered[label] for label in labels]
    return Merged(
        segments=tuple(_segments(words, speakers, max_gap_s)),
        speakers=tuple(numbered.values()),
        labels={number: label for label, number in numbered.items()} if usable else {},
        dropped_turns=tuple(dropped),
    )


def _fault(turn: Turn) -> str:
    """Why a turn cannot be used, or "" if it can."""
    if not is_time(turn.start):
        return f"its start, {turn.start}, is not a time in seconds"
    if not is_time(turn.end):
        return f"its end, {turn.end}, is not a time in seconds"
    if turn.end <= 0:
        return "it ends before the recording starts"
    if turn.end < turn.start:
        return "it ends before it starts"
    if turn.end == turn.start:
        return "it has no length"
    return ""


def _segments(
    words: Sequence[TimedWord], speakers: Sequence[str], max_gap_s: float
) -> Iterable[Segment]:
    breaks = [0]
    said_until = 0.0
    for index, (before, word) in enumerate(pairwise(words), 1):
        said_until = max(said_until, before.end)
        is_change = speakers[index] != speakers[index - 1]
        if is_change or word.start - said_until > max_gap_s:
            breaks.append(index)
    for start, stop in pairwise([*breaks, len(words)]):
        if start < stop:
            yield _segment(words[start:stop], speakers[start])


def _segment(words: Sequence[TimedWord], speaker: str) -> Segment:
    return Segment(
        start=words[0].start,
        end=max(word.end for word in words),
        speaker=speaker,
        text="".join(word.piece for word in words).strip(),
        words=tuple(Word(word.piece.strip(), word.start, word.end, speaker) for word in words),
    )

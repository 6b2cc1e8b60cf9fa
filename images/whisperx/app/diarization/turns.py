"""From pieces of voice, which overlap, to the turns of a conversation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from proxy_app.speech import Turn

_JOINED_S = 4.0
"""Turns of one speaker with a shorter gap are one turn, as senko has it."""
_SHORTEST_S = 0.78
"""Shorter turns are left out, as senko has it."""


def turns_of(pieces: Iterable[Turn]) -> tuple[Turn, ...]:
    """Make turns of pieces, which are in order of their start, as senko does."""
    turns = _joined(_without_overlap(pieces))
    # Unlike with senko, nobody is left out who says no more than that.
    heard = {turn.speaker for turn in turns if turn.end - turn.start > _SHORTEST_S}
    long_enough = (
        turn for turn in turns if turn.end - turn.start > _SHORTEST_S or turn.speaker not in heard
    )
    return tuple(_joined(long_enough))


def _joined(turns: Iterable[Turn]) -> list[Turn]:
    """One turn where somebody goes on after a short gap."""
    joined: list[Turn] = []
    for turn in turns:
        last = joined[-1] if joined else None
        if last and last.speaker == turn.speaker and turn.start - last.end <= _JOINED_S:
            joined[-1] = replace(last, end=turn.end)
        else:
            joined.append(turn)
    return joined


def _without_overlap(pieces: Iterable[Turn]) -> list[Turn]:
    """What two speakers' pieces share is halved between them."""
    turns: list[Turn] = []
    for piece in pieces:
        last = turns[-1] if turns else None
        if last is None or piece.start > last.end:
            turns.append(piece)
        elif last.speaker == piece.speaker:
            turns[-1] = replace(last, end=piece.end)
        else:
            middle = (last.end + piece.start) / 2
            turns[-1] = replace(last, end=middle)
            turns.append(replace(piece, start=middle))
    return turns

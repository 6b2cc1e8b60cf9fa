"""Times of characters, as an aligner finds them, become times of words."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from images.serving.heard import Chunk
from proxy_app.speech import Token

LAST_CHARACTER_S = 0.6
"""Alignment gives the pause after a word to its last character. NeMo caps at this length too
(`_compensate_word_ts_list`), there the whole word."""


@dataclass(frozen=True, slots=True)
class Character:
    """One character and when it is spoken, in seconds from the chunk's beginning."""

    text: str
    start: float | None = None
    end: float | None = None


def with_times(
    tokens: Sequence[Token], characters: Sequence[Character], chunk: Chunk
) -> tuple[Token, ...]:
    """The same tokens with the times of their characters.

    Args:
        tokens: a chunk's words; their times are seconds from the recording's beginning.
        characters: the same text in the same order; blanks do not count.
        chunk: where the new times have to lie.

    Returns:
        The starts never fall. A token none of whose characters has a time keeps its own, and all
        keep their own where the characters are not the tokens' text.
    """
    heard = [character for character in characters if not character.text.isspace()]
    text = "".join("".join(token.text.split()) for token in tokens)
    if text != "".join(character.text for character in heard):
        return tuple(tokens)
    return tuple(_in_order(_timed(tokens, heard, chunk)))


def _timed(
    tokens: Sequence[Token], characters: Sequence[Character], chunk: Chunk
) -> Iterator[Token]:
    first = 0
    for token in tokens:
        last = first + len("".join(token.text.split()))
        span = _span(characters[first:last])
        first = last
        if span is None:
            yield token
            continue
        start, end = (
            round(min(max(chunk.start_s + at, chunk.start_s), chunk.end_s), 3) for at in span
        )
        yield Token(token.text, start, end)


def _span(characters: Sequence[Character]) -> tuple[float, float] | None:
    """When a word is spoken. Signs get time of the pauses beside them, so letters decide."""
    timed = [
        (character.start, character.end, character.text)
        for character in characters
        if character.start is not None and character.end is not None
    ]
    spoken = [at for at in timed if not unicodedata.category(at[2]).startswith("P")] or timed
    if not spoken:
        return None
    start, (last_start, last_end, _) = spoken[0][0], spoken[-1]
    return start, max(start, min(last_end, last_start + LAST_CHARACTER_S))


def _in_order(tokens: Iterator[Token]) -> Iterator[Token]:
    latest = 0.0
    for token in tokens:
        if token.start is None:
            yield token
            continue
        latest = max(latest, token.start)
        end = None if token.end is None else max(latest, token.end)
        yield Token(token.text, latest, end)

"""The times of characters become those of Whisper's words; nothing else of them changes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.serving.heard import Chunk
from images.whisperx.app.alignment.times import LAST_CHARACTER_S, Character, with_times
from proxy_app.speech import Token

CHUNK = Chunk(100.0, 130.0)

seconds = st.floats(-5, 40)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=6)
tokens = st.builds(
    Token,
    st.builds(str.__add__, st.sampled_from(["", " "]), texts),
    st.none() | st.floats(100, 130),
    st.none() | st.floats(100, 130),
)


@st.composite
def heard_and_aligned(draw: st.DrawFn) -> tuple[list[Token], list[Character]]:
    heard = draw(st.lists(tokens, max_size=8))
    characters = [
        draw(st.builds(Character, st.just(text), st.none() | seconds, st.none() | seconds))
        for text in "".join(token.text for token in heard)
    ]
    return heard, characters


@given(heard_and_aligned())
def test_no_word_is_lost_and_no_text_changes(
    example: tuple[list[Token], list[Character]],
) -> None:
    heard, characters = example
    timed = with_times(heard, characters, CHUNK)
    assert [token.text for token in timed] == [token.text for token in heard]


@given(heard_and_aligned())
def test_starts_never_fall_and_all_times_lie_in_the_chunk(
    example: tuple[list[Token], list[Character]],
) -> None:
    timed = with_times(*example, CHUNK)
    starts = [token.start for token in timed if token.start is not None]
    assert starts == sorted(starts)
    for token in timed:
        for time in (token.start, token.end):
            assert time is None or CHUNK.start_s <= time <= CHUNK.end_s
        assert token.start is None or token.end is None or token.start <= token.end


def spread(text: str, start: float, step: float = 0.1) -> list[Character]:
    """Characters one after the other; blanks have no times."""
    return [
        Character(character)
        if character == " "
        else Character(character, start + at * step, start + (at + 1) * step)
        for at, character in enumerate(text)
    ]


def times(timed: Sequence[Token]) -> list[tuple[float | None, float | None]]:
    return [(token.start, token.end) for token in timed]


def test_a_word_is_spoken_from_its_first_to_its_last_character() -> None:
    heard = [Token(" Good", 101.0, 102.0), Token(" day", 102.0, 103.0)]
    timed = with_times(heard, spread("Good day", 5.0), CHUNK)
    assert times(timed) == [(105.0, 105.4), (105.5, 105.8)]


def test_words_of_a_language_without_blanks_are_found_by_their_characters() -> None:
    heard = [
        Token("今日は", 101.0, 102.0),
        Token("いい", 102.0, 103.0),
        Token("天気", 103.0, 104.0),
    ]
    timed = with_times(heard, spread("今日はいい天気", 1.0), CHUNK)
    assert times(timed) == [(101.0, 101.3), (101.3, 101.5), (101.5, 101.7)]


def test_two_of_whispers_words_may_be_one_between_blanks() -> None:
    heard = [Token(" well", 101.0, 102.0), Token("-known", 102.0, 103.0)]
    timed = with_times(heard, spread("well-known", 1.0), CHUNK)
    assert times(timed) == [(101.0, 101.4), (101.5, 102.0)]


def test_a_word_without_times_keeps_whispers() -> None:
    heard = [Token(" a", 101.0, 102.0), Token(" 5", 103.0, 104.0), Token(" b", 104.0, 105.0)]
    characters = [Character("a", 1.5, 1.6), Character("5"), Character("b", 6.0, 6.1)]
    timed = with_times(heard, characters, CHUNK)
    assert times(timed) == [(101.5, 101.6), (103.0, 104.0), (106.0, 106.1)]


def test_the_pause_after_a_word_is_not_part_of_it() -> None:
    heard = [Token(" Yes", 101.0, 102.0), Token(" no", 108.0, 109.0)]
    characters = [
        Character("Y", 1.0, 1.1),
        Character("e", 1.1, 1.2),
        Character("s", 1.2, 8.0),
        *spread("no", 8.0),
    ]
    timed = with_times(heard, characters, CHUNK)
    assert timed[0].end == pytest.approx(101.2 + LAST_CHARACTER_S)


def test_a_sign_beside_a_word_does_not_stretch_it() -> None:
    characters = [
        Character("¿", 0.0, 1.0),
        Character("Q", 1.0, 1.1),
        Character("é", 1.1, 1.3),
        Character("?", 1.3, 4.0),
    ]
    (token,) = with_times([Token(" ¿Qé?", 100.0, 101.0)], characters, CHUNK)
    assert times([token]) == [(101.0, 101.3)]


def test_characters_of_another_text_change_nothing() -> None:
    heard = [Token(" Good", 101.0, 102.0), Token(" day", 102.0, 103.0)]
    assert with_times(heard, spread("Good", 5.0), CHUNK) == tuple(heard)

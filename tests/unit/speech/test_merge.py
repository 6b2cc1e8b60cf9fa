import math

import pytest
from hypothesis import given

from proxy_app.speech import Merged, Token, Turn, merge
from tests.unit.speech.strategies import TOKENS, TURNS


def spoken(merged: Merged) -> list[tuple[str, str]]:
    """Each word with the diarizer's label of its speaker."""
    return [
        (word.text, merged.labels[segment.speaker])
        for segment in merged.segments
        for word in segment.words
        if segment.speaker is not None
    ]


def words(*entries: tuple[str, float | None, float | None]) -> list[Token]:
    return [Token(*entry) for entry in entries]


def times(merged: Merged) -> list[tuple[float, float]]:
    return [
        (round(word.start, 3), round(word.end, 3))
        for segment in merged.segments
        for word in segment.words
    ]


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        pytest.param([Turn(0, 2, "x"), Turn(2, 4, "y")], "xxyy", id="each its own"),
        pytest.param([Turn(2, 4, "y"), Turn(0, 2, "x")], "xxyy", id="unsorted"),
        pytest.param([Turn(0, 1.6, "x"), Turn(1.6, 4, "y")], "xxyy", id="greater overlap before"),
        pytest.param([Turn(0, 1.4, "x"), Turn(1.4, 4, "y")], "xyyy", id="greater overlap behind"),
        pytest.param([Turn(0, 1.5, "x"), Turn(1.5, 4, "y")], "xxyy", id="a tie goes to the left"),
        pytest.param(
            [Turn(0, 3, "x"), Turn(1, 4, "y")], "xxxy", id="both speak, the first goes on"
        ),
        pytest.param(
            [Turn(0, 1.2, "x"), Turn(1.2, 1.8, "y"), Turn(1.8, 4, "x")], "xxxx", id="a flicker"
        ),
        pytest.param(
            [Turn(0, 1, "x"), Turn(1, 2, "y"), Turn(2, 4, "x")], "xyxx", id="a turn of one word"
        ),
        pytest.param(
            [Turn(0, 1, "x"), Turn(3, 4, "y")], "xxyy", id="nothing touches: nearest edge"
        ),
        pytest.param([Turn(50, 60, "x")], "xxxx", id="far away"),
        pytest.param([Turn(0, 9, "x"), Turn(0, 9, "y")], "xxxx", id="two at once throughout"),
        pytest.param(
            [Turn(0, 0.4, "x"), Turn(0, 0.4, "x"), Turn(0.4, 9, "y")], "yyyy", id="twice is once"
        ),
    ],
)
def test_a_word_goes_to(turns: list[Turn], expected: str) -> None:
    tokens = [Token(f"w{n}", n, n + 1) for n in range(4)]
    assert "".join(label for _, label in spoken(merge(tokens, turns))) == expected


def test_one_word_said_into_another_speakers_turn_is_an_aside() -> None:
    tokens = words(("so", 0, 0.5), ("yeah", 1.0, 1.3), ("then", 1.5, 2))
    turns = [Turn(0, 3, "x"), Turn(0.9, 1.4, "y")]
    assert [label for _, label in spoken(merge(tokens, turns))] == ["x", "y", "x"]


@pytest.mark.parametrize(
    "turn", [Turn(0.9, 1.2, "y"), Turn(0.9, 2.0, "y"), Turn(0.9, 1.4, "x"), Turn(1.1, 1.4, "y")]
)
def test_a_part_of_a_word_or_a_longer_turn_is_no_aside(turn: Turn) -> None:
    tokens = words(("so", 0, 0.5), ("yeah", 1.0, 1.3), ("then", 1.5, 2))
    assert {label for _, label in spoken(merge(tokens, [Turn(0, 3, "x"), turn]))} == {"x"}


def test_a_word_without_length_goes_to_the_turn_around_it() -> None:
    merged = merge(words(("a", 1, 1), ("b", 5, 5)), [Turn(0, 2, "x"), Turn(4, 6, "y")])
    assert spoken(merged) == [("a", "x"), ("b", "y")]


def test_the_nearest_edge_counts_not_the_nearest_middle() -> None:
    merged = merge(words(("a", 10.5, 10.8)), [Turn(0, 10, "long"), Turn(12, 12.5, "short")])
    assert spoken(merged) == [("a", "long")]


def test_the_nearest_turn_may_have_begun_long_before_others() -> None:
    turns = [Turn(0, 10, "long"), Turn(1, 2, "short"), Turn(11, 12, "next")]
    assert spoken(merge(words(("a", 10.2, 10.5)), turns)) == [("a", "long")]


def test_a_turn_that_only_an_earlier_word_reaches_is_not_beside_a_later_one() -> None:
    tokens = words(("long", 0, 1.2), ("short", 0.3, 0.5))
    merged = merge(tokens, [Turn(0, 0.29, "x"), Turn(1, 1.5, "y")])
    assert spoken(merged) == [("long", "x"), ("short", "x")]


def test_in_a_crowd_the_words_go_to_one_who_speaks_throughout() -> None:
    leaving = [Turn(0, 0.7, f"leaving {i}") for i in range(50)]
    staying = [Turn(0.1, 2, f"staying {i}") for i in range(50)]
    merged = merge(words(("a", 0.5, 1), ("b", 1, 1.5), ("c", 1.5, 2)), leaving + staying)
    assert len({speaker for _, speaker in spoken(merged)}) == 1
    assert merged.labels["Speaker_0"].startswith("staying")


def test_speakers_are_numbered_as_they_appear_in_the_words() -> None:
    merged = merge(
        words(("a", 5, 6), ("b", 7, 8)), [Turn(0, 1, "q"), Turn(7, 8, "r"), Turn(5, 6, "s")]
    )
    assert merged.speakers == ("Speaker_0", "Speaker_1")
    assert merged.labels == {"Speaker_0": "s", "Speaker_1": "r"}


def test_words_without_turns_are_all_said_by_one_speaker() -> None:
    merged = merge(words(("a", 0, 1), ("b", 1, 2)), [])
    assert [segment.speaker for segment in merged.segments] == ["Speaker_0"]
    assert merged.speakers == ("Speaker_0",)
    assert merged.labels == {}


def test_no_words_make_no_segments_and_no_speakers() -> None:
    assert merge([], [Turn(0, 1, "x")]) == Merged((), (), {}, ())
    assert merge(words((" ", 0, 1), ("", 1, 2)), []) == Merged((), (), {}, ())


@pytest.mark.parametrize(("gap", "segments"), [(1.5, 1), (1.51, 2)])
def test_a_segment_ends_at_a_silence_of_more_than_a_second_and_a_half(
    gap: float, segments: int
) -> None:
    merged = merge(words(("a", 0, 1), ("b", 1 + gap, 4)), [Turn(0, 9, "x")])
    assert len(merged.segments) == segments


def test_a_short_word_within_a_long_one_makes_no_silence() -> None:
    merged = merge(words(("one", 0, 1.4), ("two", 0.1, 0.2), ("three", 2.8, 3)), [Turn(0, 9, "x")])
    assert [segment.text for segment in merged.segments] == ["one two three"]
    assert (merged.segments[0].start, merged.segments[0].end) == (0, 3)


def test_a_segments_text_is_joined_as_all_tokens_are_marked() -> None:
    tokens = words((" Every", 0, 1), ("body,", 1, 2), (" hi", 2, 3), (" there", 3, 4))
    merged = merge(tokens, [Turn(0, 2, "x"), Turn(2, 4, "y")])
    assert [segment.text for segment in merged.segments] == ["Everybody,", "hi there"]
    assert [word.text for word in merged.segments[1].words] == ["hi", "there"]


def test_words_are_sorted_by_time_and_equal_times_keep_their_order() -> None:
    tokens = words(("c", 2, 3), ("a", 0, 1), ("b", 1, 2), ("b2", 1, 2))
    assert [text for text, _ in spoken(merge(tokens, [Turn(0, 3, "x")]))] == ["a", "b", "b2", "c"]


def test_words_without_times_lie_between_their_neighbours() -> None:
    tokens = words(("a", 0, 1), ("two", None, None), ("2", None, None), ("b", 1.2, 2))
    spans = times(merge(tokens, []))
    assert spans == [(0, 1), (1, 1.127), (1.127, 1.2), (1.2, 2)]


def test_words_without_times_before_a_silence_follow_the_word_before() -> None:
    tokens = words(("a", 0, 1), ("£13.60", None, math.nan), ("b", 60, 61))
    assert times(merge(tokens, []))[1] == (1, 1.46)


def test_words_without_times_at_the_ends_lean_on_the_first_and_the_last() -> None:
    tokens = words(("a", None, None), ("b", 5, 6), ("c", None, None))
    assert times(merge(tokens, [])) == [(4.84, 5), (5, 6), (6, 6.16)]


def test_words_without_times_stay_behind_the_word_before_them_when_sorted() -> None:
    tokens = words(("c", 9, 10), ("d", None, None), ("a", 0, 1), ("b", None, None))
    assert [text for text, _ in spoken(merge(tokens, [Turn(0, 9, "x")]))] == ["a", "b", "c", "d"]


def test_when_no_word_has_a_time_they_are_spread_over_the_turns() -> None:
    tokens = words(*((text, None, None) for text in "abcd"))
    merged = merge(tokens, [Turn(10, 12, "x"), Turn(12, 14, "y")])
    assert times(merged) == [(10, 11), (11, 12), (12, 13), (13, 14)]
    assert "".join(label for _, label in spoken(merged)) == "xxyy"


def test_words_spread_over_long_turns_last_no_longer_than_they_can_be_said() -> None:
    merged = merge(words(("a", None, None), ("b", None, None)), [Turn(0, 600, "x")])
    assert times(merged) == [(0, 1.3), (300, 301.3)]


def test_when_nothing_has_a_time_the_words_follow_each_other() -> None:
    assert times(merge(words(("a", None, None), ("b", None, None)), [])) == [
        (0, 0.16),
        (0.16, 0.32),
    ]


@pytest.mark.parametrize(
    ("token", "span"),
    [
        pytest.param(Token("word", 3, None), (3, 3.34), id="no end"),
        pytest.param(Token("word", None, 3), (2.66, 3), id="no start"),
        pytest.param(Token("word", 3, 2), (3, 3.34), id="reversed"),
        pytest.param(Token("word", -1, 0.5), (0, 0.5), id="negative"),
        pytest.param(Token("word", 3, math.inf), (3, 3.34), id="infinite"),
        pytest.param(Token("word", 3, 1e12), (3, 3.34), id="huge"),
        pytest.param(Token("word", math.nan, 3), (2.66, 3), id="nan"),
        pytest.param(Token("word", 3, 6.8), (3, 4.6), id="longer than it can be said"),
        pytest.param(Token("1999", 3, 6.8), (3, 6.6), id="a number takes longer"),
        pytest.param(Token("w" * 999, 0, 600), (0, 15), id="nothing takes for ever"),
    ],
)
def test_times_are_repaired(token: Token, span: tuple[float, float]) -> None:
    assert times(merge([token], [])) == [span]


def test_a_word_stretched_over_a_silence_stays_with_its_speaker() -> None:
    tokens = words(("so", 0, 0.5), ("good", 0.5, 4.3), ("yes", 4.3, 4.6))
    merged = merge(tokens, [Turn(0, 1, "x"), Turn(2.2, 5, "y")])
    assert spoken(merged) == [("so", "x"), ("good", "x"), ("yes", "y")]


def test_a_word_without_an_end_ends_where_the_next_begins() -> None:
    assert times(merge(words(("word", 3, None), ("next", 3.1, 3.3)), []))[0] == (3, 3.1)


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        (Turn(math.nan, 1, "x"), "its start, nan, is not a time in seconds"),
        (Turn(0, math.inf, "x"), "its end, inf, is not a time in seconds"),
        (Turn(0, 1e300, "x"), "its end, 1e+300, is not a time in seconds"),
        (Turn(2, 1, "x"), "it ends before it starts"),
        (Turn(1, 1, "x"), "it has no length"),
        (Turn(-2, -1, "x"), "it ends before the recording starts"),
    ],
)
def test_an_unusable_turn_is_dropped_and_named(turn: Turn, reason: str) -> None:
    merged = merge(words(("a", 0, 1)), [turn, Turn(-1, 5, "y")])
    assert [(dropped.turn, dropped.reason) for dropped in merged.dropped_turns] == [(turn, reason)]
    assert spoken(merged) == [("a", "y")]


@given(TOKENS, TURNS)
def test_whatever_comes_no_word_is_lost_and_every_time_is_usable(
    tokens: list[Token], turns: list[Turn]
) -> None:
    merged = merge(tokens, turns)
    found = [word for segment in merged.segments for word in segment.words]
    texts = [" ".join(token.text.split()) for token in tokens]
    assert sorted(word.text for word in found) == sorted(filter(None, texts))
    assert all(0 <= word.start <= word.end < math.inf for word in found)
    assert [word.start for word in found] == sorted(word.start for word in found)


@given(TOKENS, TURNS)
def test_whatever_comes_segments_hold_their_words_and_known_speakers(
    tokens: list[Token], turns: list[Turn]
) -> None:
    merged = merge(tokens, turns)
    usable = {turn.speaker for turn in turns} if merged.labels else set()
    assert set(merged.labels.values()) <= usable
    assert list(merged.speakers) == list(dict.fromkeys(s.speaker for s in merged.segments))
    for segment in merged.segments:
        assert {word.speaker for word in segment.words} == {segment.speaker}
        assert segment.start == segment.words[0].start
        assert segment.end == max(word.end for word in segment.words)
        assert "".join(segment.text.split()) == "".join(
            "".join(word.text.split()) for word in segment.words
        )


@given(TOKENS)
def test_words_without_times_keep_the_recognisers_order(tokens: list[Token]) -> None:
    merged = merge([Token(token.text) for token in tokens], [])
    texts = (" ".join(token.text.split()) for token in tokens)
    assert [w.text for s in merged.segments for w in s.words] == list(filter(None, texts))

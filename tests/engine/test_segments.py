"""Segments from words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.serving.heard import Chunk, Heard
from images.serving.segments import (
    LONGEST_S,
    LONGEST_WORDS,
    SegmentBuilder,
)
from proxy_app.speech import Decoding, Segment, Token


def encode(text: str) -> list[int]:
    """A token for each character."""
    return [ord(character) for character in text]


def heard(*tokens: Token, seek: int = 0) -> Heard:
    """One chunk."""
    return Heard(Chunk(tokens[0].start or 0.0, tokens[-1].end or 0.0), tokens, Decoding(seek=seek))


def spoken(text: str, start: float = 0.0, step: float = 0.4) -> list[Token]:
    """Words of `step` seconds each; | is where words without a space between them meet."""
    words = [
        piece if number else f" {piece}"
        for word in text.split()
        for number, piece in enumerate(word.split("|"))
    ]
    times = [start + step * number for number in range(len(words) + 1)]
    return [Token(*each) for each in zip(words, times, times[1:], strict=False)]


def texts(*chunks: list[Token]) -> list[str]:
    """The segments' texts."""
    builder = SegmentBuilder(encode)
    found = [segment for tokens in chunks for segment in builder.add(heard(*tokens))]
    return [segment.text for segment in found + builder.flush()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good morning. How are you? Fine!", ["Good morning.", "How are you?", "Fine!"]),
        ('He said "no." Then he left', ['He said "no."', "Then he left"]),
        ("Mr. Smith met Dr. No", ["Mr. Smith met Dr. No"]),
        ("J. S. Bach, e.g. him", ["J. S. Bach, e.g. him"]),
        ("the U|.S. army", ["the U.S. army"]),
        ("It is 3|.5 metres. Yes", ["It is 3.5 metres.", "Yes"]),
        ("Wait ... what", ["Wait ...", "what"]),
        ("¿Qué? Nada.", ["¿Qué?", "Nada."]),
    ],
)
def test_a_sentence_is_a_segment(text: str, expected: list[str]) -> None:
    assert texts(spoken(text)) == expected


def test_a_sentence_ends_in_other_scripts_too() -> None:
    words = [Token(text, number, number + 1.0) for number, text in enumerate("今日は。元気?はい")]
    assert texts(words) == ["今日は。", "元気?", "はい"]


def test_a_pause_ends_a_segment() -> None:
    words = spoken("well I was") + spoken("never mind", start=2.3)
    assert texts(words) == ["well I was", "never mind"]


def test_a_sentence_goes_on_over_a_chunk_s_border() -> None:
    first = spoken("Yes. We are going")
    assert texts(first, spoken("home now. Bye.", start=1.7)) == [
        "Yes.",
        "We are going home now.",
        "Bye.",
    ]


def test_a_finished_sentence_is_not_held_back() -> None:
    builder = SegmentBuilder(encode)
    assert [segment.text for segment in builder.add(heard(*spoken("Here we go. And")))] == [
        "Here we go."
    ]
    assert [segment.text for segment in builder.add(heard(*spoken("now.", start=2.0)))] == [
        "And now."
    ]
    assert builder.flush() == []


def test_what_never_ends_is_cut_at_its_longest_pause() -> None:
    words = [*spoken("word " * 20), *spoken("then " * 15, start=20 * 0.4 + 0.5)]
    assert texts(words) == [" ".join(["word"] * 20), " ".join(["then"] * 15)]


def test_without_a_pause_it_is_cut_at_a_comma() -> None:
    text = "word " * 21 + "word, " + "then " * 15
    assert texts(spoken(text, step=0.2)) == [
        ("word " * 22).strip().removesuffix("word") + "word,",
        ("then " * 15).strip(),
    ]


def test_slow_speech_is_cut_by_its_length() -> None:
    found = texts(spoken("slow " * 20, step=1.0))
    assert [len(text.split()) for text in found] == [15, 5]


def test_a_segment_tells_of_its_own_words_and_its_first_chunk() -> None:
    builder = SegmentBuilder(encode)
    words = spoken("We are", start=40.0)
    assert builder.add(heard(*words, seek=4000)) == []
    (segment,) = builder.add(heard(*spoken("here.", start=41.0), seek=4080))
    assert (segment.start, segment.end) == (40.0, 41.4)
    assert [(word.text, word.start) for word in segment.words] == [
        ("We", 40.0),
        ("are", 40.4),
        ("here.", 41.0),
    ]
    assert segment.decoding == Decoding(seek=4000, tokens=tuple(encode(" We are here.")))


def test_words_without_times_are_kept() -> None:
    (segment,) = SegmentBuilder(encode).add(Heard(Chunk(3.0, 4.0), (Token(" So."),), Decoding()))
    assert (segment.text, segment.start, segment.end) == ("So.", 3.0, 3.0)


words = st.tuples(
    st.text(st.sampled_from("aB3.,?。日'\""), min_size=1, max_size=4),
    st.booleans(),
    st.floats(0, 3).map(lambda seconds: round(seconds, 2)),
    st.floats(0, 20).map(lambda seconds: round(seconds, 2)),
)


@given(st.lists(st.lists(words, min_size=1, max_size=60), max_size=4))
def test_no_word_is_lost_doubled_or_moved(
    chunks: list[list[tuple[str, bool, float, float]]],
) -> None:
    builder, given_, found = SegmentBuilder(encode), list[Token](), list[Segment]()
    now = 0.0
    for chunk in chunks:
        tokens = []
        for text, marked, gap, length in chunk:
            start = now + gap
            now = start + length
            tokens.append(Token(f" {text}" if marked else text, start, now))
        given_ += tokens
        found += builder.add(heard(*tokens))
    found += builder.flush()
    kept = [(word.text, word.start, word.end) for segment in found for word in segment.words]
    assert kept == [(token.text.strip(), token.start, token.end) for token in given_]
    assert "".join(s.text for s in found).replace(" ", "") == "".join(
        t.text for t in given_
    ).replace(" ", "")
    for segment in found:
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)


@given(st.lists(st.floats(0.05, 2.0), min_size=1, max_size=200))
def test_segments_of_plain_words_are_not_long(lengths: list[float]) -> None:
    now, tokens = 0.0, []
    for length in lengths:
        tokens.append(Token(" word", now, now + length))
        now += length
    builder = SegmentBuilder(encode)
    for segment in builder.add(heard(*tokens)) + builder.flush():
        assert segment.end - segment.start <= LONGEST_S
        assert len(segment.words) <= LONGEST_WORDS

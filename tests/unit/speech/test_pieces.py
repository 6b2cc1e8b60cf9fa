"""A text in pieces for a voice."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.speech.aloud import plain
from proxy_app.speech.pieces import longest_s, pieces

MOST_S = 12.0
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
TEN = " ".join(f"Sentence {word} has a few words in it." for word in NUMBERS)
HINDI = (
    "\u092f\u0939 \u090f\u0915 \u092c\u0939\u0941\u0924 \u0932\u0902\u092c\u093e"
    " \u0935\u093e\u0915\u094d\u092f \u0939\u0948\u0964"
)
JAPANESE = "\u4eca\u65e5\u306f\u5929\u6c17\u304c\u3044\u3044\u3067\u3059\u306d\u3002"


def texts(text: str, most_s: float = MOST_S) -> list[str]:
    return [piece.text for piece in pieces(text, most_s)]


def letters(text: str) -> str:
    return "".join(char for char in text if char.isalnum())


def test_the_first_piece_is_the_first_sentence_and_the_others_are_longer() -> None:
    found = texts(TEN)
    assert found[0] == "Sentence one has a few words in it."
    assert " ".join(found) == TEN
    assert 3 <= len(found) < 6


@pytest.mark.parametrize(
    "sentence",
    [
        "Dr. Smith met Prof. Meyer at 3.5 p.m. yesterday.", "It is e.g. this one, i.e. that.",
        "J. S. Bach wrote it for the organ.", "Das ist z.B. so, bzw. anders.",
        "Mr. and Mrs. Doe, No. 5.",
    ],
)  # fmt: skip
def test_abbreviations_end_no_sentence(sentence: str) -> None:
    more = "And here is another sentence, which is long enough."
    assert texts(f"{sentence} {more}")[0] == sentence


@pytest.mark.parametrize(
    "text",
    [
        'He said to her "Go away at once!" Then he left the house for good.',
        "Is it really so, after all of that? It is indeed so, my good old friend.",
        f"{HINDI * 2} {HINDI * 2}".replace("\u0964\u092f", " \u092f"),
        JAPANESE * 2,
    ],
)
def test_sentences_end_as_their_language_ends_them(text: str) -> None:
    assert len(texts(text, 4.4)) == 2


def test_a_long_sentence_is_cut_at_its_clauses() -> None:
    sentence = "We went up the long hill, and down on the other side, " * 6 + "and home."
    found = texts(sentence)
    assert len(found) > 1
    assert all(part.endswith(",") for part in found[:-1])
    assert " ".join(found) == sentence


def test_a_sentence_without_clauses_is_cut_between_words_and_a_word_between_letters() -> None:
    assert " ".join(texts("word " * 200)) == ("word " * 200).strip()
    assert "".join(texts("a" * 700)) == "a" * 700


def test_short_sentences_are_said_together() -> None:
    assert texts("No. Yes! Oh?") == ["No. Yes! Oh?"]
    assert texts("This is a sentence of its own, and it is long. Ok.") == [
        "This is a sentence of its own, and it is long. Ok."
    ]


def test_headings_and_items_get_a_pause() -> None:
    assert texts(plain("# Shopping\n- milk\n- bread")) == ["Shopping, milk, bread"]
    assert texts(plain("# Shopping\nWe need it.")) == ["Shopping. We need it."]


def test_pauses_go_by_what_ends() -> None:
    long = "This is a sentence that is certainly long enough for a piece."
    found = pieces(f"{long}\n\n{long} {long}", 6.0)
    assert [piece.pause_s for piece in found] == [0.4, 0.2, 0.0]
    clauses = pieces("We went up the long hill, " * 8 + "and home.", 6.0)
    assert clauses[0].pause_s == 0.05


def test_nothing_to_say_has_no_pieces() -> None:
    assert pieces("", MOST_S) == []


@given(st.text(max_size=600), st.floats(2.0, 15.0))
def test_no_piece_is_too_long_and_no_letter_is_lost(text: str, most_s: float) -> None:
    said = plain(text)
    found = texts(said, most_s)
    assert all(longest_s(part) <= most_s or len(part) == 1 for part in found)
    assert letters("".join(found)) == letters(said)


def test_estimates_fit_what_people_take() -> None:
    # The README's first paragraph, read aloud at 150 to 180 words a minute.
    text = (
        "Speech services for the NVIDIA DGX Spark, or any machine: who said what in a recording, "
        "and one compatible address for transcription. Nothing leaves your network."
    )
    words = len(re.findall(r"\w+", text))
    assert words / 180 * 60 < longest_s(text) < words / 150 * 60 * 1.6
    assert longest_s("2026") > longest_s("word")
    assert longest_s("NASA") > longest_s("nasa")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["." * 4096, "a." * 2048, "a, " * 1365, "\n" * 4096, "\u3042" * 4096]
)
def test_no_text_takes_long(text: str) -> None:
    pieces(plain(text), MOST_S)

"""Names of known speakers, and what the others are called."""

from itertools import islice

import pytest

from proxy_app.speech import Segment, Word, known_names, not_taken, numbered, without_names
from proxy_app.speech.known import lettered


def test_names_are_taken_as_they_are_but_for_their_blanks() -> None:
    assert known_names([" Ann  Lee\n", "Ørsted, Jr.", "李雷"]) == ("Ann Lee", "Ørsted, Jr.", "李雷")
    assert known_names([]) == ()


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (list("abcde"), "5 names; at most 4"),
        (["Ann", "  "], "empty"),
        (["x" * 65], "65 characters"),
        (["Ann\x00"], "cannot be printed"),
        (["Ann\u202e"], "cannot be printed"),
        (["Straße", "STRASSE"], "the same"),
        (["Ann  Lee", "Ann Lee"], "the same"),
    ],
)
def test_what_cannot_be_a_name_is_said(sent: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        known_names(sent)


def test_letters_go_on_after_z() -> None:
    letters = list(islice(lettered(), 29))
    assert letters[:2] + letters[25:] == ["A", "B", "Z", "AA", "AB", "AC"]


def test_labels_that_are_names_are_left_out_whatever_their_case() -> None:
    assert list(islice(not_taken(lettered(), ["a", "Bob", "C"]), 3)) == ["B", "D", "E"]
    assert list(islice(not_taken(numbered(), ["speaker_0"]), 2)) == ["Speaker_1", "Speaker_2"]


def test_numbers_that_are_names_are_given_to_nobody() -> None:
    segments = [
        Segment(start, start + 1, name, "Hi.", (Word("Hi.", start, start + 1, name),))
        for start, name in ((0.0, "Speaker_0"), (1.0, "Speaker_1"), (2.0, "Speaker_0"))
    ]
    renamed = without_names([*segments, Segment(3, 4, None, "Hm.")], ["Speaker_0", "Ann"])
    assert [one.speaker for one in renamed] == ["Speaker_1", "Speaker_2", "Speaker_1", None]
    assert [word.speaker for one in renamed for word in one.words] == [
        "Speaker_1", "Speaker_2", "Speaker_1"
    ]  # fmt: skip

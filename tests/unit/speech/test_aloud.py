"""What of a text is read aloud."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.speech.aloud import is_speech, plain


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("## The **end** of *it*", "The end of it"),
        ("- milk\n- [x] bread\n* `rye`", "milk\nbread\nrye"),
        ("> quoted\n>> twice", "quoted\ntwice"),
        ("See [the page](https://a.b/c_(d) \"t\") now.", "See the page now."),
        ("![a cat](cat.png) sits", "a cat sits"),
        ("It is at https://a.b/c?d=e#f. Go!", "It is at. Go!"),
        ("<https://a.b> www.a.b/c, and more", ", and more"),
        ("one<br>two <b>three</b>", "one two three"),
        ("Well \U0001f600\U0001f468\u200d\U0001f4bb done \u2705 1\ufe0f\u20e3", "Well done 1"),
        ("```python\nprint(1)\n```", "print(1)"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a, b\n\n1, 2"),
        ("above\n\n---\n\nbelow", "above\n\nbelow"),
        ("~~gone~~ ***both*** __bold__", "gone both bold"),
    ],
)  # fmt: skip
def test_what_only_makes_a_text_look_well_is_not_read(written: str, said: str) -> None:
    assert plain(written) == said


@pytest.mark.parametrize(
    "text",
    [
        "snake_case_name and its_other", "2 * 3 * 4 = 24, 2*3*4 too", "a < b and c > d",
        "It costs $5 [sic], 50 % off.", "C# & F#", "\u4eca\u65e5\u306f\u3002",
        "\u00a9 2026 Mia's caf\u00e9", "1. First", "half-open", "e-mail ann@example.com",
    ],
)  # fmt: skip
def test_what_only_looks_like_markup_is_read(text: str) -> None:
    assert plain(text) == text


def test_markup_is_read_where_that_is_wanted() -> None:
    text = "**Bold** at https://a.b \U0001f600"
    assert plain(text, markup=True) == text


def test_what_no_voice_can_read_is_never_read() -> None:
    assert plain("a\x00b\x1b\ud800c", markup=True) == "abc"


def test_a_wrapped_line_goes_on_in_the_next_one() -> None:
    wrapped = "This sentence was wrapped by a mail program, as they do,\nat seventy columns."
    assert plain(wrapped) == wrapped.replace("\n", " ")
    assert (
        plain("1. One thing that goes\n   on\n2. Another")
        == "1. One thing that goes on\n2. Another"
    )
    assert plain("Roses are red\nViolets are blue") == "Roses are red\nViolets are blue"


def test_a_text_of_pictures_alone_is_no_speech() -> None:
    assert not is_speech(plain("\U0001f44d \U0001f389!"))
    assert is_speech(plain("\U0001f44d ok"))


@given(st.text(max_size=300))
def test_nothing_breaks_it_and_twice_changes_no_word(text: str) -> None:
    said = plain(text)
    assert said == said.strip()
    assert "\n\n\n" not in said
    assert [char for char in said if char.isalpha() and char not in text] == []


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "*" * 4096,
        "[" * 4096,
        "_a" * 2048,
        "<a" * 2048,
        "`" * 4096,
        "|" * 4096,
        "[a](" * 1024,
        "\n>" * 2000,
        "- " * 2048,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    plain(text)

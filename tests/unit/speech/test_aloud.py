"""What of a text is read aloud."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.speech.aloud import is_speech, plain
from proxy_app.speech.pieces import pieces


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
        ("**bold and *nested* text**", "bold and nested text"),
        ("\u8fd9\u662f**\u91cd\u70b9**\u5185\u5bb9", "\u8fd9\u662f\u91cd\u70b9\u5185\u5bb9"),
        # Addresses end where they end.
        ("\u8bf7\u770bhttps://a.com\uff0c\u7136\u540e", "\u8bf7\u770b\uff0c\u7136\u540e"),
        ("\u898b\u3066https://example.jp\u3002\u305d", "\u898b\u3066\u3002\u305d"),
        ("\u898b\u3066https://example.jp/a\u305d\u3057\u3066", "\u898b\u3066\u305d\u3057\u3066"),
        ("\u8bf7\u770b\uff08https://example.com\uff09\u5427", "\u8bf7\u770b\u5427"),
        ("See https://a.b/c... Then go, \"https://a.b\", [https://a.b].", "See... Then go,,."),
        ("See (https://a.b/c_(d)) now, or https://a.b/c_(d).", "See now, or."),
        ("Is it (at https://a.b/c)?", "Is it (at)?"),
        ("**https://a.b** and `https://a.b` or \u201chttps://a.b\u201d here", "and or here"),
        ("[https://a.b](https://a.b) it is", "it is"),
        ("[![a cat](cat.png)](https://a.b) sits", "a cat sits"),
        ("Go to foo.com/bar?x=1, write to mailto:x@y.org now", "Go to, write to now"),
        ("HTTPS://A.B/C and WWW.A.B, foo.de/Bar or docs.foo.co.uk:80/x now", "and, or now"),
        ("https://\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444/x yes", "yes"),
        ("https://a.b/c\\_d yes", "yes"),
        # Tags are those of a list, entities are characters.
        ("<p>Hello</p><p>World</p>", "Hello\n\nWorld"),
        ("<speak version=\"1.0\"><prosody rate='slow'>Hi</prosody></speak>", "Hi"),
        ("<input type=text disabled> <a href=\"x\">it</a><br/>is", "it is"),
        ("a <!-- b --> c <!-- d", "a c <!-- d"),
        ("Tom &amp; Jerry&nbsp;&lt;3 &#8364;5", "Tom & Jerry <3 \u20ac5"),
        ("Text[^1] with [^note] notes.\n\n[^1]: This one.", "Text with notes.\n\nThis one."),
        ("[1]: https://a.b \"t\"\nand", "and"),
        ("\\*not\\* \\# one \\[x\\]", "*not* # one [x]"),
        ("- 5 degrees outside", "- 5 degrees outside"),
        ("- 5 apples\n- 3 pears", "5 apples\n3 pears"),
        ("Well (\U0001f600) done [ ] ()", "Well done"),
    ],
)  # fmt: skip
def test_what_only_makes_a_text_look_well_is_not_read(written: str, said: str) -> None:
    assert plain(written) == said


@pytest.mark.parametrize(
    "text",
    [
        "snake_case_name and its_other", "2 * 3 * 4 = 24, 2*3*4 too", "a < b and c > d",
        "It costs $5 [sic], 50 % off.", "C# & F#", "\u4eca\u65e5\u306f\u3002",
        "If 5<x and y>3 we win.", "a<b and the long rest is c>d", "He said <hello> to me",
        "List<String> names", "x <- y", "f(*a, *b), *args, **kwargs", "2**3**4 and 5* or 6*",
        "C:\\path\\x", "AT&T and R&D; Q&A", "and/or, he/she, v1.2/v1.3", "See example.com now.",
        "Use socket.io/redis now", "Please use ASP.net/Core today", "I use asp.net/core",
        "I said no.It/that is fine", "I said no.it/that is fine", "Answer yes.no/maybe here",
        "Yes.No/maybe", "yes.no/maybe", "Who.me/you", "Look.at/in it", "Let it be.be/is",
        "ASP.com/Core", "Ask Foo.Com/Bar",
        "\u00a9 2026 Mia's caf\u00e9", "1. First", "half-open", "e-mail ann@example.com",
    ],
)  # fmt: skip
def test_what_only_looks_like_markup_is_read(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("https://a.b/c", "https://a.b/c"),
        ("**foo.com/bar**!", "foo.com/bar!"),
        ("- <https://a.b>", "https://a.b"),
        ("[https://a.b](https://c.d) \U0001f600", "https://a.b"),
        ("<p>www.a.b</p>", "www.a.b"),
        ("<p class='x'></p>", ""),
        ('[1]: https://a.b "t"', ""),
    ],
)
def test_an_address_is_read_where_there_is_nothing_else(written: str, said: str) -> None:
    assert plain(written) == said


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
    if "&" not in text:  # of which letters can be made
        assert [char for char in said if char.isalpha() and char not in text] == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        " ", "*", "*a ", "_a", "~~a ", "[", "[a](", "[a](b", "[^", "<", "<a", "<a b=", "<!--", "`",
        "`a", "|", "\n>", "- ", "\n- 1 ", "&", "&a", "&amp;", "\\*", "a\n", "a.", ". a", "www.",
        "https://", "https://a.b ", "a.com/", "mailto:", "(\ue100", "( ", "\n[a]:", "\U0001f600",
        "\u3042", "a, ", "-", "\n", "A",
    ],
)  # fmt: skip
def test_no_text_takes_long(unit: str) -> None:
    """What grows with the square of the length would take minutes."""
    plain(unit * (100_000 // len(unit)) + "x")
    pieces(plain(unit * (10_000 // len(unit))), 12.0)

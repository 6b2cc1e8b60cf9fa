# ruff: noqa: RUF001 - typographic characters are what is tested
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy_app.speech import Token, join
from proxy_app.speech.joining import pieces
from tests.unit.speech.strategies import TEXTS

PLAIN = st.lists(st.text("abcdefgIXZ", min_size=1, max_size=5))
WRITTEN = st.lists(
    st.sampled_from(
        [
            "I",
            "'m",
            "don't",
            "do",
            "n't",
            "Hello,",
            ",",
            ".",
            "(",
            ")",
            '"',
            '"Hi',
            'there"',
            "£",
            "%",
            "13.60",
            "4,9",
            "我",
            "们",
            "。",
            "カ",
            "안녕",
            "ไทย",
            "-quality",
            "l'",
            "homme",
            "…",
            "“a”",
            "1",
            "000",
            "2019",
            ":",
            "$",
            "&T",
            "O",
            "'Brien",
            "y",
            "'all",
            "'",
            "U",
            ".S",
        ]
    )
)

ONE_WORD = {
    "1,000": ["1", ",", "000"],
    "12,345,678": ["12", ",", "345", ",", "678"],
    "10:30": ["10", ":", "30"],
    "3.5%": ["3", ".", "5", "%"],
    "$1,000.50": ["$", "1", ",", "000", ".", "50"],
    "O'Brien": ["O", "'Brien"],
    "o’clock": ["o", "’clock"],
    "d'Angelo": ["d", "'Angelo"],
    "y'all": ["y", "'all"],
    "U.S.": ["U", ".S", "."],
    "U.S.A.": ["U", ".S", ".A", "."],
    "AT&T": ["AT", "&T"],
    "don't": ["do", "n't"],
}


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["I'm", "recording", "right", "now"], "I'm recording right now"),
        ([" I'm", " recording", " right", " now"], "I'm recording right now"),
        ([" I'm", "recording", "right", "now"], "I'm recording right now"),
        ([" I'm", "recording", " right", " now"], "I'm recording right now"),
        (["don't", "you", "try"], "don't you try"),
        ([" don't", "you", " try", " it"], "don't you try it"),
        (["do", "n't", "you", "try"], "don't you try"),
        (["I", "'m", "Bob", "'s"], "I'm Bob's"),
        (["I", "'", "m", "here"], "I'm here"),
        (["the", "dogs'", "bark"], "the dogs' bark"),
        (["l'", "homme", "qu'", "il", "dell'", "anno"], "l'homme qu'il dell'anno"),
        (["rock", "’n’", "roll"], "rock ’n’ roll"),
        (["Hello", ",", "world", "!"], "Hello, world!"),
        (["He", "said", '"', "hi", "there", '"', "."], 'He said "hi there".'),
        (['"Hi', 'there,"', "he", "said"], '"Hi there," he said'),
        (['("Hi"', "he", 'said)"', "so"], '("Hi" he said)" so'),
        (["„Hallo“", "und", "»Tschüss«", "ja"], "„Hallo“ und »Tschüss« ja"),
        (["(", "as", "said", ")", "so"], "(as said) so"),
        (["¿", "Qué", "?"], "¿Qué?"),
        (["£13.60", "or", "4,9", "or", "1,000"], "£13.60 or 4,9 or 1,000"),
        (["$", "5", "and", "5", "%", "at", "20", "°C"], "$5 and 5% at 20°C"),
        (["in", "2019", ",", "300", "people"], "in 2019, 300 people"),
        (["at", "-5", "of", "high", "-quality"], "at -5 of high-quality"),
        (["amazon", ".com", "and", ".NET", "so", "...and"], "amazon.com and .NET so ...and"),
        (["well", "-", "known", "—", "yes"], "well - known — yes"),
        (["我", "喜欢", "machine", "learning", "。"], "我喜欢machine learning。"),
        (["2024", "年", "、", "Python", "を"], "2024年、Pythonを"),
        (["at", "3", ",", "5", "people", "came"], "at 3,5 people came"),
        (["on", "July", "4", ",", "2019"], "on July 4, 2019"),
        (["plan", "C", ".NET", "said", "'all", "aboard'"], "plan C .NET said 'all aboard'"),
        (["O", "'", "Brien", "y", "'", "all", "l", "'", "homme"], "O'Brien y'all l'homme"),
        (["the", "dogs'", "re-entry"], "the dogs' re-entry"),
        (["안녕", "하세요", "여러분"], "안녕 하세요 여러분"),
        (["ภา", "ษา", "ไทย", "hello"], "ภาษาไทย hello"),
        (["क", "्या"], "क्या"),
        ([], ""),
        (["", " ", "\n"], ""),
        (["Hello", " ", "world"], "Hello world"),
        (["  Hello  ", "\tbig\u00a0world\n"], "Hello big world"),
    ],
)
def test_tokens_make_the_text_that_a_person_would_write(tokens: list[str], text: str) -> None:
    assert join(tokens) == text


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ([" every", "body", " knows", " it"], "everybody knows it"),
        (["Hello", ",", " world", ".", " Yes"], "Hello, world. Yes"),
        ([" It", " is", " 3", ".", "14", " now"], "It is 3.14 now"),
        ([" £13", ".60", " or", " 1", ",000"], "£13.60 or 1,000"),
        ([" high", "-", "quality", " work", " done"], "high-quality work done"),
        ([" AT", "&T", " and", " 24", "/7"], "AT&T and 24/7"),
        ([" 안녕", "하세요", " 여러분", " 네"], "안녕하세요 여러분 네"),
        ([" now", ".", "Then", " we", " go", " on"], "now. Then we go on"),
        ([" so", "Then", " we", " go"], "so Then we go"),
        ([" AT", "&", "T", " is"], "AT&T is"),
        ([" Jean", "-", "Luc", " is"], "Jean-Luc is"),
        ([" at", " 3", ",", " 5", " people", " came"], "at 3, 5 people came"),
        ([" at", " 10", ":", " 30", " people", " came"], "at 10: 30 people came"),
    ],
)
def test_in_a_list_that_marks_words_a_bare_token_goes_on(tokens: list[str], text: str) -> None:
    assert join(tokens) == text


@given(st.lists(st.sampled_from([*ONE_WORD, "so", "we"])))
@example(["$1,000.50"])
def test_a_word_in_parts_is_whole_in_bare_and_in_marked_lists(words: list[str]) -> None:
    text = " ".join(["well", *words, "then"])
    bare = [["well"], *([*ONE_WORD.get(word, [word])] for word in words), ["then"]]
    assert join(part for parts in bare for part in parts) == text
    marked = [[" " + first, *rest] for first, *rest in bare]
    assert join(part for parts in marked for part in parts) == text


def test_tokens_with_times_are_joined_like_strings() -> None:
    assert join([Token(" Hello", 0.0, 0.4), Token(" there", 0.4, 0.9)]) == "Hello there"


@given(PLAIN)
def test_words_of_letters_always_have_one_space(words: list[str]) -> None:
    for tokens in (words, [f" {w}" for w in words], [f"{w} " for w in words]):
        assert join(tokens) == " ".join(words)


@given(WRITTEN)
@example(['"', '"', "I", "'m"])
def test_leading_spaces_on_every_token_change_nothing(words: list[str]) -> None:
    assert join([f" {word}" for word in words]) == join(words)


@given(st.lists(TEXTS))
def test_every_character_but_white_space_is_kept_in_order(tokens: list[str]) -> None:
    assert "".join(join(tokens).split()) == "".join("".join(tokens).split())


@given(st.lists(TEXTS))
def test_pieces_are_the_text_and_never_have_two_spaces(tokens: list[str]) -> None:
    parts = pieces(tokens)
    text = "".join(parts)
    assert len(parts) == len(tokens)
    assert text == join(tokens) == " ".join(text.split())

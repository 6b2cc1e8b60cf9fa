"""Whether a sound can be the whole of its text."""

import pytest

from proxy_app.speech.pace import Paces, Verdict, judged, syllables

SENTENCE = "This is a sentence with some words in it."
# What eSpeak NG takes, in seconds.
MEASURED = [
    ("Da.", 0.16), ("\u0414\u0430.", 0.16), ("Eaux.", 0.17), ("Oui.", 0.21), ("Hola.", 0.26),
    ("Hi.", 0.36), ("Go", 0.32), ("through thought though", 0.78),
    (SENTENCE, 1.94), ("Ils mangeaient beaucoup.", 0.80), ("Guten Morgen zusammen.", 1.13),
    ("Les oiseaux chantaient pendant que nous attendions.", 1.89),
    ("\u4f60\u597d", 0.51), ("\u306f\u3044", 0.33), ("\uc548\ub155\ud558\uc138\uc694.", 1.01),
    ("\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", 0.82),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "took_s"), [*MEASURED, ("Strengths.", 0.65), ("room 4711 at 14:30", 3.1)]
)
def test_what_a_real_voice_takes_is_whole_or_at_most_doubted(text: str, took_s: float) -> None:
    assert judged(text, took_s, None) != Verdict.CUT


@pytest.mark.parametrize(("text", "took_s"), MEASURED)
def test_a_third_of_what_a_real_voice_takes_is_never_whole(text: str, took_s: float) -> None:
    assert judged(text, took_s / 3, None) != Verdict.WHOLE
    if took_s > 0.7:
        assert judged(text, took_s / 3, None) == Verdict.CUT


def test_a_voice_is_compared_with_itself_once_it_is_known() -> None:
    paces = Paces()
    for _ in range(2):
        paces.heard("mia", SENTENCE, 3.0)
    assert paces.of("mia", SENTENCE) is None
    paces.heard("mia", SENTENCE, 9.0)  # one that is odd does not count for much
    own = paces.of("mia", SENTENCE)
    assert own is not None
    assert [judged(SENTENCE, 3.0 * part, own) for part in (1, 0.8, 0.6)] == [
        Verdict.WHOLE, Verdict.DOUBTFUL, Verdict.CUT
    ]  # fmt: skip
    assert judged(SENTENCE, 1.8, None) == Verdict.WHOLE


def test_a_pace_is_that_of_one_voice_in_one_script() -> None:
    paces = Paces()
    for _ in range(3):
        paces.heard("mia", SENTENCE, 3.0)
        paces.heard("leo", "Hi.", 0.3)  # says nothing of sentences
    assert paces.of("leo", SENTENCE) is None
    assert paces.of("mia", "\u4f60\u597d") is None


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0), ("Hi", 1, 1), ("XML", 1, 1), ("make some more", 3, 4), ("Donaudampf", 3, 3),
        ("1000000", 1, 3), ("2026", 2, 4), ("\u65e5\u672c\u8a9e", 3, 3),
        ("\u041c\u043e\u0441\u043a\u0432\u0430", 2, 2), (SENTENCE, 10, 13),
    ],
)  # fmt: skip
def test_syllables_are_counted_roughly(text: str, least: float, most: float) -> None:
    assert least <= syllables(text) <= most

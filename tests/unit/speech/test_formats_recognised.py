"""What Parakeet servers answer, ours and others': words with times, whatever the shape."""

from typing import Any

import pytest

from proxy_app.speech import FormatError, Segment, Times, Token, Word, from_recogniser

WORDS: list[dict[str, Any]] = [
    {"word": "Good", "start": 0.1, "end": 0.4},
    {"word": "morning.", "start": 0.4, "end": 0.9},
    {"word": "Hello.", "start": 2.0, "end": 2.5},
]
TOKENS = (Token("Good", 0.1, 0.4), Token("morning.", 0.4, 0.9), Token("Hello.", 2.0, 2.5))
TEXT = "Good morning. Hello."
SEGMENTS = [
    {"start": 0.1, "end": 0.9, "text": "Good morning."},
    {"start": 2.0, "end": 2.5, "text": "Hello."},
]
SRT = "1\n00:00:00,100 --> 00:00:00,900\nGood\nmorning.\n\n2\n0:02.0 --> 0:02.5 X\nHello."


def renamed(name: str) -> list[dict[str, Any]]:
    return [{name: w["word"], "start": w["start"], "end": w["end"]} for w in WORDS]


@pytest.mark.parametrize(
    "answer",
    [
        {"text": TEXT, "segments": SEGMENTS, "words": WORDS},
        {"text": TEXT, "segments": None, "words": renamed("text")},
        {"text": TEXT, "words": WORDS, "segments": [{"start": 0.0, "end": 0.0, "text": TEXT}]},
        {"segments": [SEGMENTS[0] | {"words": WORDS[:2]}, SEGMENTS[1] | {"words": WORDS[2:]}]},
        {"text": TEXT, "timestamps": {"word": WORDS, "segment": SEGMENTS, "char": []}},
        {"words": WORDS},
    ],
)
def test_words_are_found_wherever_they_are(answer: dict[str, Any]) -> None:
    found = from_recogniser(answer, 3.0)
    assert (found.tokens, found.times) == (TOKENS, Times.WORDS)
    assert " ".join(segment.text for segment in found.segments) == TEXT


@pytest.mark.parametrize(
    "answer",
    [
        {"text": TEXT, "segments": SEGMENTS},
        {"text": TEXT, "segments": SEGMENTS, "words": [WORDS[0]]},
        {"text": SRT},
        {"text": "WEBVTT\r\n\r\n" + SRT.replace("\n", "\r\n")},
        {"text": TEXT, "timestamps": {"segment": [
            {"segment": s["text"], "start": s["start"], "end": s["end"]} for s in SEGMENTS
        ]}},
    ],
)  # fmt: skip
def test_where_words_are_missing_segments_lend_them_their_times(answer: dict[str, Any]) -> None:
    found = from_recogniser(answer, 3.0)
    assert [token.text for token in found.tokens] == ["Good", "morning.", "Hello."]
    times = [time for token in found.tokens for time in (token.start, token.end)]
    between = times[1]
    assert times == pytest.approx([0.1, between, between, 0.9, 2.0, 2.5])
    assert [segment.text for segment in found.segments] == ["Good morning.", "Hello."]
    assert found.times == Times.SEGMENTS


@pytest.mark.parametrize(
    "answer",
    [
        {"text": TEXT},
        {"text": TEXT, "segments": [{"start": 0.0, "end": 0.0, "text": TEXT}], "duration": None},
        {"text": TEXT, "segments": [SEGMENTS[0] | {"start": 0, "end": 0}] * 2},
        {"text": TEXT, "segments": [{"start": None, "end": None, "text": TEXT}]},
        {"text": TEXT, "words": [{"word": w["word"], "start": 0, "end": 0} for w in WORDS]},
        {"text": TEXT, "words": [{"word": w["word"]} for w in WORDS]},
        {"text": TEXT, "words": [
            {"word": w["word"], "start": w["start"] * 1e9, "end": w["end"] * 1e9} for w in WORDS
        ]},
        {"text": TEXT, "segments": [{"start": 1e8, "end": 3e9, "text": TEXT}]},
        {"text": TEXT, "words": [{"word": TEXT, "start": 0, "end": 0}]},
    ],
)  # fmt: skip
def test_placeholders_are_no_times_and_words_are_spread_over_the_audio(
    answer: dict[str, Any],
) -> None:
    found = from_recogniser(answer, 3.0)
    assert " ".join(token.text for token in found.tokens) == TEXT
    starts = [token.start for token in found.tokens]
    assert starts == sorted(starts, key=lambda start: start or 0.0)
    assert len(set(starts)) == len(starts)
    assert starts[0] == 0.0
    assert found.tokens[-1].end == pytest.approx(3.0)
    assert found.times == Times.NONE


def test_one_segment_of_all_is_a_time_only_where_it_may_be_one_sentence() -> None:
    whole = {"text": TEXT, "segments": [{"start": 0.0, "end": 29.0, "text": TEXT}]}
    assert from_recogniser(whole, 29.0).times == Times.SEGMENTS
    whole["segments"] = [{"start": 0.0, "end": 300.0, "text": TEXT}]
    assert from_recogniser(whole, 300.0).times == Times.NONE
    assert from_recogniser(whole | {"words": WORDS}, 300.0).times == Times.WORDS


def test_segments_are_made_of_words_where_there_are_none() -> None:
    later = [{"word": "Bye.", "start": 8.0, "end": 8.4}]
    found = from_recogniser({"text": f"{TEXT} Bye.", "words": WORDS + later}, 10.0)
    assert found.segments == (Segment(0.1, 2.5, None, TEXT), Segment(8.0, 8.4, None, "Bye."))
    odd = from_recogniser({"text": "Goodmorning, hello!", "words": WORDS}, 10.0)
    assert odd.segments == (Segment(0.1, 2.5, None, "Goodmorning, hello!"),)


def test_words_lie_in_the_segments_that_they_are_said_in() -> None:
    found = from_recogniser({"text": TEXT, "segments": SEGMENTS, "words": WORDS}, 3.0)
    first, second = found.with_words()
    assert first.words == (Word("Good", 0.1, 0.4), Word("morning.", 0.4, 0.9))
    assert second.words == (Word("Hello.", 2.0, 2.5),)
    untimed = from_recogniser({"text": TEXT, "segments": SEGMENTS}, 3.0)
    assert not any(segment.words for segment in untimed.with_words())


def test_a_word_without_times_stays_among_the_others() -> None:
    words = [WORDS[0], {"word": "morning."}, WORDS[2]]
    found = from_recogniser({"text": TEXT, "words": words}, 3.0)
    assert found.tokens == (TOKENS[0], Token("morning."), TOKENS[2])


@pytest.mark.parametrize("answer", [{"text": ""}, {"text": " ", "segments": []}, {"words": []}])
def test_silence_is_no_words(answer: dict[str, Any]) -> None:
    found = from_recogniser(answer, 3.0)
    assert (found.tokens, found.segments) == ((), ())


@pytest.mark.parametrize(
    "answer",
    [{}, {"error": "no"}, {"text": ["a"]}, {"text": 5}, {"segments": "x"}, {"words": [5]},
     {"segments": [{"text": 5}]}, {"timestamps": {"word": 5}}],
)  # fmt: skip
def test_what_is_no_transcript_is_an_error(answer: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        from_recogniser(answer, 3.0)


@pytest.mark.parametrize(
    ("language", "code"), [("english", "en"), ("de", "de"), ("", ""), (None, ""), ("klingon", "")]
)
def test_a_language_is_a_code_or_nothing(language: str | None, code: str) -> None:
    assert from_recogniser({"text": TEXT, "language": language}, 3.0).language == code


def test_the_same_later_has_all_times_moved() -> None:
    answer = {"text": TEXT, "words": [*WORDS, {"word": "Bye."}], "segments": SEGMENTS}
    found = from_recogniser(answer, 3.0).later(60.0)
    assert [token.start for token in found.tokens] == [60.1, 60.4, 62.0, None]
    assert [(segment.start, segment.end) for segment in found.segments] == [
        (60.1, 60.9),
        (62.0, 62.5),
    ]

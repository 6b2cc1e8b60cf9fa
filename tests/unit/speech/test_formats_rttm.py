import math

import pytest

from proxy_app.speech import (
    FormatError,
    Segment,
    Token,
    Transcript,
    Turn,
    merge,
    parse_rttm,
    parse_words,
    to_rttm,
)


def test_turns_are_read_and_other_lines_passed_over() -> None:
    text = (
        ";; a comment\n# another\n\n"
        "SPKR-INFO sample 1 <NA> <NA> <NA> unknown speaker90 <NA> <NA>\n"
        "SPEAKER sample 1 6.690 0.430 <NA> <NA> speaker90 <NA> <NA>\r\n"
        "SPEAKER sample 1 7.55 0.8 <NA> <NA> speaker91\n"
    )
    assert [(t.start, round(t.end, 3), t.speaker) for t in parse_rttm(text)] == [
        (6.69, 7.12, "speaker90"),
        (7.55, 8.35, "speaker91"),
    ]


def test_odd_numbers_are_left_to_the_merge() -> None:
    (turn,) = parse_rttm("SPEAKER a 1 1.0 nan <NA> <NA> x <NA> <NA>")
    assert math.isnan(turn.end)


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ("<NA> 1.0", "its start, nan, is not a time in seconds"),
        ("1.0 <NA>", "its end, nan, is not a time in seconds"),
    ],
)
def test_a_turn_whose_time_is_missing_is_dropped_and_the_file_is_used(
    times: str, reason: str
) -> None:
    turns = parse_rttm(f"SPEAKER a 1 {times} <NA> <NA> x\nSPEAKER a 1 0 1 <NA> <NA> y\n")
    merged = merge([Token("Hello", 0, 1)], turns)
    assert [(d.turn.speaker, d.reason) for d in merged.dropped_turns] == [("x", reason)]
    assert merged.labels == {"Speaker_0": "y"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SPEAKER a 1 0.0 1.0 <NA> <NA>", "line 2: a SPEAKER line has 8 to 10 fields .* has 7"),
        ("SPEAKER a 1 0 1 <NA> <NA> Jo Ann <NA> <NA>", "line 2: .* no spaces .* this one has 11"),
        ("SPEAKER my call 1 0 1 <NA> <NA> x <NA> <NA>", "line 2: .* no spaces .* this one has 11"),
        ("SPEAKER my call 1 0 1 <NA> <NA> x", "line 2: field 8 is the speaker, not <NA>; a space"),
        (
            "SPEAKER b 1 0.0 1.0 <NA> <NA> x",
            "line 2: the file has turns of a and b: merge one recording at a time",
        ),
        ("SPEAKER a 1 zero 1.0 <NA> <NA> x", "line 2: fields 4 and 5 .* 'zero' and '1.0'"),
        ('{"start": 0}', "line 2: .* is not a line of RTTM"),
        ("speaker a 1 0.0 1.0 <NA> <NA> x", "line 2: .* is not a line of RTTM"),
    ],
)
def test_a_bad_line_is_named(line: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse_rttm("SPEAKER a 1 0.0 1.0 <NA> <NA> x <NA> <NA>\n" + line)


def test_what_is_written_is_read_back() -> None:
    transcript = Transcript(
        (Segment(6.69, 7.12, "Speaker_0", "Hello."), Segment(7.55, 8.35, None, "Hi.")), 30.0
    )
    text = to_rttm(transcript, "call")
    assert text.startswith("SPEAKER call 1 6.690 0.430 <NA> <NA> Speaker_0 <NA> <NA>\n")
    turns = [(t.start, round(t.end, 3), t.speaker) for t in parse_rttm(text)]
    assert turns == [(6.69, 7.12, "Speaker_0"), (7.55, 8.35, "Speaker_0")]
    assert all(isinstance(turn, Turn) for turn in parse_rttm(text))


def test_a_name_with_spaces_is_one_field() -> None:
    transcript = Transcript((Segment(0, 1, "Jo\nAnn  B", "Hi."), Segment(1, 2, " ", "Hi.")), 2.0)
    text = to_rttm(transcript, "my call")
    assert text.startswith("SPEAKER my_call 1 ")
    assert [turn.speaker for turn in parse_rttm(text)] == ["Jo_Ann_B", "Speaker_0"]


def test_words_may_lack_times() -> None:
    text = (
        '[{"word": "a", "start": 0, "end": 1.5}, {"word": "b", "start": null},'
        ' {"word": "c", "end": NaN}]'
    )
    assert parse_words(text) == [Token("a", 0.0, 1.5), Token("b"), Token("c")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"words": []}', "a list of {word, start, end} is expected"),
        ('[{"word": "a"}, 3]', 'entry 2: an object with a text "word" is expected'),
        ('[{"text": "a"}]', 'entry 1: an object with a text "word" is expected'),
        ('[{"word": "a", "start": "0.5"}]', "entry 1: \"start\" is seconds or null, not '0.5'"),
        ('[{"word": "a", "end": true}]', 'entry 1: "end" is seconds or null, not True'),
    ],
)
def test_words_of_another_shape_are_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse_words(text)

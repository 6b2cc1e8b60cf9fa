# ruff: noqa: RUF001 - typographic characters are what is tested
import math
from dataclasses import replace
from itertools import pairwise
from unicodedata import east_asian_width

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.speech import Segment, Word
from proxy_app.speech.cues import Cue, cues
from tests.unit.speech.strategies import segments

SENTENCES = (
    "We talked about it for a long time, and nobody could tell what was to be done. Then she came"
    " back, and everything was easy."
)


def said(text: str, start: float, step: float, speaker: str | None = None) -> Segment:
    """A segment whose words take `step` seconds each."""
    words = tuple(
        Word(word, start + step * n, start + step * (n + 1), speaker)
        for n, word in enumerate(text.split())
    )
    return Segment(start, words[-1].end, speaker, text, words)


def shown(found: list[Cue]) -> list[str]:
    return ["|".join(cue.lines) for cue in found]


def letters(text: str) -> str:
    return "".join(text.split())


def test_cues_break_at_sentences_and_lines_at_clauses() -> None:
    assert shown(cues([said(SENTENCES, 0, 0.25)])) == [
        "We talked about it for a long time,|and nobody could tell what was to be done.",
        "Then she came back,|and everything was easy.",
    ]


def test_a_cue_that_fits_a_line_has_one() -> None:
    assert shown(cues([said("Good morning, everybody.", 0, 0.4)])) == ["Good morning, everybody."]


def test_times_come_from_the_words() -> None:
    # The second stays for its 48 characters, a fraction longer than it is said.
    first, second = cues([said(SENTENCES, 10, 0.25)])
    assert (first.start, first.end, second.start, second.end) == (10, 14.25, 14.25, 16.4)


def test_without_words_the_segments_time_is_shared_out_by_length() -> None:
    text = "a" * 39 + " b. " + "c" * 39 + " d."
    first, second = cues([Segment(0, 8.2, None, text)])
    assert first.end == pytest.approx(4.1)
    assert second.start == pytest.approx(4.1)


def test_words_that_were_normalised_lend_no_times_and_the_text_is_shown() -> None:
    segment = Segment(0, 4, None, "It is 5 %.", (Word("it", 0, 1), Word("five", 3, 4)))
    assert shown(cues([segment])) == ["It is 5 %."]


def test_words_without_the_punctuation_of_the_text_lend_their_times() -> None:
    words = (Word("Yes", 1, 2), Word("it", 4, 4.2), Word("is", 4.2, 5))
    found = cues([Segment(0, 9, None, "Yes, - it is.", words)])
    assert shown(found) == ["Yes, -", "it is."]
    assert [(cue.start, cue.end) for cue in found] == [(1, 2), (4, 5)]


def test_no_cue_goes_on_over_a_long_silence() -> None:
    words = (Word("One", 0, 1), Word("two", 3, 4))
    assert shown(cues([Segment(0, 4, None, "One two", words)])) == ["One", "two"]


def test_a_cue_stays_long_enough_to_be_read_where_nothing_follows() -> None:
    (cue,) = cues([said("Unbelievably extraordinary circumstances", 0, 0.1)])
    assert cue.end == pytest.approx(2.0)


def test_a_short_word_stays_for_a_second() -> None:
    (cue,) = cues([said("Yes.", 5, 0.2)])
    assert (cue.start, cue.end) == (5, 6)


def test_a_word_between_two_others_borrows_its_second_from_both_sides() -> None:
    found = cues([said("Yes.", 0, 2, "a"), said("No.", 2.2, 0.3, "b"), said("Oh.", 2.5, 2, "a")])
    assert [(cue.start, cue.end) for cue in found] == [(0, 2), (2, 3), (3, 4.5)]


def test_a_fast_exchange_never_drifts_far_from_the_speech() -> None:
    exchange = [said("Yes.", n * 0.4, 0.4, f"s{n % 2}") for n in range(50)]
    found = cues(exchange)
    assert len(found) == 50
    assert all(
        abs(cue.start - segment.start) <= 0.7 for cue, segment in zip(found, exchange, strict=True)
    )


def test_two_who_speak_at_once_get_cues_one_after_the_other() -> None:
    found = cues([said("One two three.", 0, 1, "a"), said("Four.", 1, 0.5, "b")])
    assert shown(found) == ["One two three.", "Four."]
    assert found[0].end <= found[1].start


def test_segments_of_one_speaker_run_on_and_keep_their_spaces() -> None:
    assert shown(cues([said("so we", 0, 0.3), said("went home.", 0.6, 0.3)])) == [
        "so we went home."
    ]
    assert shown(cues([said("我们", 0, 0.6), said("走了。", 0.6, 0.6)])) == ["我们走了。"]


def test_a_label_goes_before_the_first_line_and_inside_its_limit() -> None:
    found = cues([said(SENTENCES, 0, 0.25, "Speaker_0")], "{}: ".format)
    assert all(cue.lines[0].startswith("Speaker_0: ") for cue in found)
    assert all(len(line) <= 42 for cue in found for line in cue.lines)
    assert not any(line.startswith("Speaker_0: ") for cue in found for line in cue.lines[1:])


def test_chinese_lines_have_sixteen_characters_and_none_begins_with_a_comma() -> None:
    text = (
        "我们今天讨论的问题是如何让所有人都能听懂会议的内容，而不需要再听一遍录音。这很重要，对吗？"
    )
    found = cues([Segment(0, 16, None, text)])
    lines = [line for cue in found for line in cue.lines]
    assert "".join(lines) == text
    assert all(len(line) <= 16 for line in lines)
    assert not any(line[0] in "，。？" for line in lines)


def test_a_word_longer_than_a_line_is_split() -> None:
    found = cues([said("x" * 100, 0, 5)])
    assert letters("".join(shown(found))).replace("|", "") == "x" * 100
    assert all(len(line) <= 42 for cue in found for line in cue.lines)


def test_an_accent_stays_with_its_letter_when_a_word_is_split() -> None:
    found = cues([said("x" * 41 + "e\u0301" * 10, 0, 2)])
    assert not any(line.startswith("\u0301") for cue in found for line in cue.lines)


@given(segments(), st.sampled_from(["{}: ", "{} of a name that is longer than a line: "]))
def test_whatever_is_said_the_limits_hold(spoken: list[Segment], label: str) -> None:
    named = [replace(s, speaker=s.speaker and label.format(s.speaker)) for s in spoken]
    found = cues(named, "{}: ".format)
    for cue in found:
        assert 1 <= len(cue.lines) <= 2
        for line in cue.lines:
            assert line == line.strip() != ""
            wide = sum(east_asian_width(char) in "WF" for char in line)
            assert wide / 16 + (len(line) - wide) / 42 <= 1 + 1e-9
        assert 0.1 < cue.end - cue.start <= 7.000001
    for before, behind in pairwise(found):
        assert before.end <= behind.start


def needed(cue: Cue) -> float:
    """Seconds to read a cue: a second at least, else twenty characters of 42 a line in each."""
    wide = sum(east_asian_width(char) in "WF" for line in cue.lines for char in line)
    narrow = sum(map(len, cue.lines)) - wide
    return min(max(1.0, (wide * 42 / 16 + narrow) / 20), 7.0)


@given(segments())
def test_whatever_is_said_a_cue_lasts_until_it_is_read_or_the_next_begins(
    spoken: list[Segment],
) -> None:
    found = cues(spoken, "{}: ".format)
    starts = [cue.start for cue in found[1:]] + [math.inf] * bool(found)
    for cue, following in zip(found, starts, strict=True):
        assert cue.end == following or cue.end - cue.start >= needed(cue) - 1e-6


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.1, 0.6, 1.2, 3.0]),  # silence before
            st.sampled_from([0.2, 0.3, 0.7, 1.5, 6.0]),  # length
            st.sampled_from(["Yes.", "Well, of course.", "I never said that he was there."]),
        )
    )
)
def test_whatever_is_said_a_cue_has_its_time_where_its_neighbours_leave_it(
    exchange: list[tuple[float, float, str]],
) -> None:
    spoken = []
    clock = 1.0
    for n, (silence, length, text) in enumerate(exchange):
        clock += silence
        spoken.append(Segment(clock, clock + length, f"{n % 2}", text))
        clock += length
    found = cues(spoken)
    assert [cue.speaker for cue in found] == [segment.speaker for segment in spoken]
    shown_until = 0.0
    for n, (cue, segment) in enumerate(zip(found, spoken, strict=True)):
        following = spoken[n + 1].start if n + 1 < len(spoken) else math.inf
        # From its speech on, it is read before the next speech begins, if that leaves the time.
        room = following - max(segment.start, shown_until)
        assert cue.end - cue.start >= min(needed(cue), room) - 1e-6
        # For its second it comes early and makes the next come late, half a second each.
        room = following + 0.5 - max(segment.start - 0.5, shown_until)
        assert cue.end - cue.start >= min(1.0, room) - 1e-6
        shown_until = cue.end


@given(segments())
def test_whatever_is_said_every_letter_is_shown_once_and_by_its_speaker(
    spoken: list[Segment],
) -> None:
    found = cues(spoken)
    for speaker in {segment.speaker for segment in spoken}:
        text = "".join(segment.text for segment in spoken if segment.speaker == speaker)
        lines = (line for cue in found if cue.speaker == speaker for line in cue.lines)
        assert letters("".join(lines)) == letters(text)
    assert {cue.speaker for cue in found} == {segment.speaker for segment in spoken}

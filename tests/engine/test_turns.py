"""From pieces of voice to turns, as senko makes them."""

from __future__ import annotations

from images.whisperx.app.diarization.turns import turns_of
from proxy_app.speech import Turn


def pieces(*who: str, start_s: float = 0.0) -> list[Turn]:
    """Pieces of 1.5 s, each 0.6 s after the one before."""
    return [
        Turn(start_s + 0.6 * number, start_s + 0.6 * number + 1.5, speaker)
        for number, speaker in enumerate(who)
    ]


def spoken(*turns: Turn) -> list[tuple[float, float, str]]:
    return [(round(turn.start, 2), round(turn.end, 2), turn.speaker) for turn in turns]


def test_overlapping_pieces_of_one_speaker_are_one_turn() -> None:
    assert spoken(*turns_of(pieces("A", "A", "A"))) == [(0.0, 2.7, "A")]


def test_what_two_speakers_share_is_halved() -> None:
    assert spoken(*turns_of(pieces("A", "A", "B", "B"))) == [(0.0, 1.65, "A"), (1.65, 3.3, "B")]


def test_a_short_gap_is_part_of_a_turn_and_a_long_one_is_not() -> None:
    assert len(turns_of(pieces("A") + pieces("A", start_s=5.0))) == 1
    assert len(turns_of(pieces("A") + pieces("A", start_s=6.0))) == 2


def test_a_stray_piece_is_left_to_whom_it_interrupts() -> None:
    said = pieces("A", "A", "A", "B", "A", "A") + pieces("B", "B", "B", start_s=10.0)
    assert spoken(*turns_of(said)) == [(0.0, 4.5, "A"), (10.0, 12.7, "B")]


def test_who_only_says_a_stray_piece_is_not_left_out() -> None:
    assert [turn.speaker for turn in turns_of(pieces("A", "A", "A", "B", "A", "A"))] == [
        "A",
        "B",
        "A",
    ]


def test_no_pieces_are_no_turns() -> None:
    assert turns_of([]) == ()

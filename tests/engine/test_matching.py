"""Which name goes to which voice, on made voices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.whisperx.app.diarization.known import Matching, match
from images.whisperx.app.diarization.voice import Voice

MATCHING = Matching(needed=((4, 0.76, 0.05), (8, 0.70, 0.05)))
SIZE = 8


def voice(cosines: Sequence[float], speech_s: float = 10.0) -> Voice:
    """Somebody who is so much like each of the first people, and else like nobody."""
    direction = np.zeros(SIZE)
    direction[: len(cosines)] = cosines
    direction[SIZE - 1] = np.sqrt(max(0.0, 1 - np.square(direction).sum()))
    return Voice(direction * speech_s, speech_s, frozenset({0}))


def person(number: int, speech_s: float = 10.0) -> Voice:
    return voice([float(other == number) for other in range(number + 1)], speech_s)


PEOPLE = {"Speaker_0": person(0), "Speaker_1": person(1), "Speaker_2": person(2)}


def test_names_go_where_they_fit_whatever_the_order() -> None:
    known = {"Cara": voice([0, 0, 0.9]), "Ann": voice([0.9])}
    assert match(known, PEOPLE, MATCHING) == {"Speaker_2": "Cara", "Speaker_0": "Ann"}


def test_who_is_like_nobody_is_nobody() -> None:
    assert match({"Ann": voice([0.6, 0.5])}, PEOPLE, MATCHING) == {}


@pytest.mark.parametrize(("of_reference", "of_person"), [(4, 60), (60, 4), (4, 4)])
def test_less_speech_has_to_be_more_alike(of_reference: float, of_person: float) -> None:
    known = {"Ann": voice([0.73], of_reference)}
    assert match(known, {"Speaker_0": person(0, of_person)}, MATCHING) == {}
    known = {"Ann": voice([0.73], 8)}
    assert match(known, {"Speaker_0": person(0, 8)}, MATCHING) == {"Speaker_0": "Ann"}


def test_between_two_points_it_is_between_them() -> None:
    assert MATCHING.for_speech(6) == pytest.approx((0.73, 0.05))
    assert MATCHING.for_speech(1) == (0.76, 0.05)
    assert MATCHING.for_speech(99) == (0.70, 0.05)


def test_who_is_about_as_much_like_two_is_neither() -> None:
    assert match({"Ann": voice([0.71, 0.70])}, PEOPLE, MATCHING) == {}


def test_of_two_names_that_fit_about_as_well_neither_is_taken() -> None:
    known = {"Ann": voice([0.90]), "Anna": voice([0.87])}
    assert match(known, PEOPLE, MATCHING) == {}


def test_of_two_names_that_fit_the_better_one_is_taken_and_the_other_goes_to_nobody_else() -> None:
    known = {"Anna": voice([0.80, 0.55]), "Ann": voice([0.95])}
    assert match(known, PEOPLE, MATCHING) == {"Speaker_0": "Ann"}


def test_the_surest_pair_is_out_of_the_others_way() -> None:
    # Ben is about as much like the first, who is surely Ann.
    known = {"Ann": voice([0.95]), "Ben": voice([0.70, 0.71])}
    assert match(known, PEOPLE, MATCHING) == {"Speaker_0": "Ann", "Speaker_1": "Ben"}


def test_no_name_is_given_away_so_that_another_finds_somebody() -> None:
    # The best sum would be 0.80 + 0.72; but the first is Ann.
    known = {"Ann": voice([0.90, 0.30]), "Ben": voice([0.80, 0.10])}
    assert match(known, PEOPLE, MATCHING) == {"Speaker_0": "Ann"}


def test_of_an_unknown_voice_nothing_is_said() -> None:
    nothing = Voice(np.zeros(SIZE), 10.0, frozenset({0}))
    assert match({"Ann": nothing}, PEOPLE, MATCHING) == {}
    assert match({"Ann": voice([0.9])}, {"Speaker_0": nothing}, MATCHING) == {}
    assert match({"Ann": voice([0.9])}, {}, MATCHING) == {}
    assert match({}, PEOPLE, MATCHING) == {}


cosines = st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3)


@given(st.lists(cosines, max_size=4), st.lists(cosines, max_size=5))
def test_no_name_and_no_person_comes_twice_and_all_that_match_are_alike_enough(
    known: list[list[float]], people: list[list[float]]
) -> None:
    references = {f"name {number}": voice(one) for number, one in enumerate(known)}
    voices = {f"Speaker_{number}": voice(one) for number, one in enumerate(people)}
    found = match(references, voices, MATCHING)
    assert len(set(found.values())) == len(found)
    for label, name in found.items():
        assert references[name].likeness(voices[label]) >= 0.70

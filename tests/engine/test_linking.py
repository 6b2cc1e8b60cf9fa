"""Who is who in the windows of a recording, on made voices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from images.whisperx.app.diarization import SpeakerCount, Voices
from images.whisperx.app.diarization.linking import Linking, Speakers

LINKING = Linking(
    needed=((2, 0.70), (8, 0.78), (60, 0.82)), margin=0.03, sure=0.88, brief_s=4.0, brief=0.6
)
ANY = SpeakerCount()
SIZE = 16
Said = tuple[Sequence[float], int]
"""A voice, and how many pieces of 1.5 s it says."""


def person(number: int, *, like: int | None = None, cosine: float = 0.0) -> list[float]:
    """A voice; people are at right angles unless it is said how much one is like another."""
    voice = np.zeros(SIZE)
    voice[number] = np.sqrt(1 - cosine**2)
    if like is not None:
        voice[like] = cosine
    return list(voice)


ANNA, BEN, CARA, DAN = (person(number) for number in range(4))


def window(*said: Said, start_s: float = 0.0, noise: float = 0.0, seed: int = 0) -> Voices:
    """What a diarizer makes of people who speak one after the other."""
    random = np.random.default_rng(seed)
    labels = [label for label, (_voice, pieces) in enumerate(said) for _piece in range(pieces)]
    rows = np.array([said[label][0] for label in labels]).reshape(-1, SIZE)
    rows = rows + noise * random.standard_normal(rows.shape)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    starts = start_s + 1.5 * np.arange(len(labels), dtype=np.float64)
    return Voices(starts, starts + 1.5, np.array(labels, np.int64), rows.astype(np.float32))


def link(*windows: Voices, count: SpeakerCount = ANY) -> list[list[str]]:
    """The speakers of each window in order of appearance."""
    speakers = Speakers(count, LINKING, several=len(windows) > 1)
    for voices in windows:
        speakers.add(voices)
    speakers.finish()
    return [list(dict.fromkeys(speakers.labels(number))) for number in range(len(windows))]


def test_a_voice_keeps_its_name_from_window_to_window() -> None:
    assert link(
        window((ANNA, 20), (BEN, 20), noise=0.1),
        window((BEN, 20), (ANNA, 20), noise=0.1, seed=1),
    ) == [["Speaker_0", "Speaker_1"], ["Speaker_1", "Speaker_0"]]


def test_who_comes_only_in_the_last_window_is_new() -> None:
    first = window((ANNA, 20), (BEN, 20))
    assert link(first, first, window((BEN, 20), (CARA, 4))) == [
        ["Speaker_0", "Speaker_1"],
        ["Speaker_0", "Speaker_1"],
        ["Speaker_1", "Speaker_2"],
    ]


def test_who_is_absent_for_two_windows_is_found_again() -> None:
    without = window((BEN, 20))
    assert link(window((ANNA, 20), (BEN, 20)), without, without, window((ANNA, 20)))[-1] == [
        "Speaker_0"
    ]


def test_two_of_one_window_stay_two_however_alike() -> None:
    twin = person(4, like=0, cosine=0.99)
    assert link(window((ANNA, 30)), window((ANNA, 30), (twin, 30))) == [
        ["Speaker_0"],
        ["Speaker_0", "Speaker_1"],
    ]


def test_two_of_one_window_are_not_joined_by_way_of_a_third_window() -> None:
    twin = person(4, like=0, cosine=0.95)
    both = window((ANNA, 30), (twin, 30))
    assert link(both, window((twin, 30)), both)[0] == ["Speaker_0", "Speaker_1"]


def test_the_best_match_of_each_other_wins() -> None:
    near = person(4, like=0, cosine=0.85)
    assert link(window((ANNA, 30)), window((near, 30), (ANNA, 30))) == [
        ["Speaker_0"],
        ["Speaker_1", "Speaker_0"],
    ]


def test_a_match_that_is_hardly_better_than_the_next_is_none() -> None:
    between = [0.55, 0.55, *[0.0] * (SIZE - 3), 0.63]
    alike = [person(0, like=1, cosine=0.45), person(1, like=0, cosine=0.45)]
    first = window((alike[0], 30), (alike[1], 30))
    assert link(first, window((between, 30)))[1] == ["Speaker_2"]


def test_what_is_needed_grows_with_the_speech_a_voice_is_known_from() -> None:
    near = person(4, like=0, cosine=0.80)
    assert link(window((ANNA, 8)), window((near, 8)))[1] == ["Speaker_0"]
    assert link(window((ANNA, 60)), window((near, 60)))[1] == ["Speaker_1"]


def test_a_few_words_that_are_somewhat_like_a_known_voice_make_no_new_speaker() -> None:
    rough = person(4, like=0, cosine=0.65)
    first = window((ANNA, 30), (BEN, 30))
    assert link(first, window((BEN, 30), (rough, 2)))[1] == ["Speaker_1", "Speaker_0"]
    assert link(first, window((BEN, 30), (rough, 8)))[1] == ["Speaker_1", "Speaker_2"]


def test_a_few_words_that_are_like_nobody_are_a_new_speaker() -> None:
    assert link(window((ANNA, 30)), window((ANNA, 30), (BEN, 2)))[1] == ["Speaker_0", "Speaker_1"]


def test_a_voice_is_known_by_all_that_was_heard_of_it() -> None:
    # Each a little further; the last is nearer to the mean of all than to the first.
    drift = [person(0, like=4, cosine=cosine) for cosine in (0.0, 0.4, 0.6, 0.75)]
    assert link(*(window((voice, 40)) for voice in drift)) == [["Speaker_0"]] * 4


def test_a_voice_without_an_embedding_is_nobodys() -> None:
    unknown = [0.0] * SIZE
    assert link(window((ANNA, 10), (unknown, 5)), window((unknown, 5), (ANNA, 10))) == [
        ["Speaker_0", "Speaker_1"],
        ["Speaker_2", "Speaker_0"],
    ]


def test_silence_has_no_speakers() -> None:
    silence = window()
    for count in (ANY, SpeakerCount(exactly=2), SpeakerCount(maximum=1)):
        assert link(silence, window((ANNA, 9)), silence, count=count)[0] == []
        assert link(silence, count=count) == [[]]


def test_pieces_that_overlap_are_heard_once() -> None:
    first = window((ANNA, 30), (BEN, 30))
    rough = window((BEN, 30), (person(4, like=0, cosine=0.65), 4))
    starts = rough.starts.copy()
    starts[-4:] = starts[-4] + 0.6 * np.arange(4)  # 3.3 s instead of 6
    overlapping = Voices(starts, starts + 1.5, rough.labels, rough.embeddings)
    assert link(first, overlapping)[1] == ["Speaker_1", "Speaker_0"]


def test_a_maximum_gives_a_new_voice_to_whom_it_is_most_like() -> None:
    near = person(4, like=1, cosine=0.5)
    assert link(window((ANNA, 30), (BEN, 30)), window((near, 30)), count=SpeakerCount(maximum=2))[
        1
    ] == ["Speaker_1"]


def test_a_maximum_joins_two_of_one_window_only_when_nobody_else_is_left() -> None:
    maximum = SpeakerCount(maximum=2)
    near = [person(number, like=1, cosine=0.5) for number in (4, 5)]
    windows = window((ANNA, 30), (BEN, 30)), window((near[0], 30), (near[1], 20))
    assert link(*windows, count=maximum)[1] == ["Speaker_1", "Speaker_0"]
    assert len(set(link(window((ANNA, 9), (BEN, 9), (CARA, 9)), windows[0], count=maximum)[0])) == 2


def test_labels_are_settled_unless_a_later_window_may_be_needed_for_the_count() -> None:
    for count, several, settled in (
        (ANY, True, True),
        (SpeakerCount(maximum=3), True, True),
        (SpeakerCount(exactly=2), True, False),
        (SpeakerCount(minimum=2), True, False),
        (SpeakerCount(exactly=2), False, True),
    ):
        speakers = Speakers(count, LINKING, several=several)
        speakers.add(window((ANNA, 9), (BEN, 9)))
        assert speakers.settled is settled
        speakers.finish()
        assert speakers.settled


def test_too_many_are_joined_by_likeness_those_who_never_met_first() -> None:
    near = person(4, like=0, cosine=0.6)
    twin = person(5, like=1, cosine=0.7)
    assert link(
        window((ANNA, 30), (BEN, 30), (twin, 30)),
        window((near, 30)),
        count=SpeakerCount(exactly=3),
    ) == [["Speaker_0", "Speaker_1", "Speaker_2"], ["Speaker_0"]]


def test_speakers_are_not_split_into_single_words() -> None:
    speakers = Speakers(SpeakerCount(exactly=50), LINKING, several=False)
    speakers.add(window((ANNA, 4), (BEN, 4), noise=0.1))  # 12 s
    speakers.finish()
    assert len(set(speakers.labels(0))) == 8


def test_two_halves_of_one_voice_are_joined_rather_than_strangers_who_never_met() -> None:
    half = person(4, like=0, cosine=0.9)
    assert link(
        window((ANNA, 30), (half, 30), (BEN, 30)),
        window((CARA, 30), (DAN, 30)),
        count=SpeakerCount(exactly=4),
    ) == [["Speaker_0", "Speaker_1"], ["Speaker_2", "Speaker_3"]]


def test_too_few_are_split_where_the_voices_differ_most() -> None:
    both = window((ANNA, 10), (BEN, 10), noise=0.05)
    mixed = Voices(both.starts, both.ends, np.zeros(20, np.int64), both.embeddings)
    speakers = Speakers(SpeakerCount(exactly=2), LINKING, several=False)
    speakers.add(mixed)
    assert speakers.labels(0) == ["Speaker_0"] * 10 + ["Speaker_1"] * 10


def test_a_voice_of_one_embedding_cannot_be_split() -> None:
    assert link(window((ANNA, 10)), count=SpeakerCount(exactly=3)) == [["Speaker_0"]]


def test_speakers_are_numbered_by_who_is_heard_first_after_joining_too() -> None:
    windows = window((CARA, 9), (ANNA, 30)), window((BEN, 30)), window((DAN, 30))
    found = link(*windows, count=SpeakerCount(exactly=2))
    assert found[0] == ["Speaker_0", "Speaker_1"]


voices_of_windows = st.lists(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(1, 12)), max_size=5, unique_by=lambda x: x[0]
    ),
    min_size=1,
    max_size=5,
)


def made(recording: list[list[tuple[int, int]]], noise: float) -> list[Voices]:
    return [
        window(*((person(who), pieces) for who, pieces in said), noise=noise, seed=number)
        for number, said in enumerate(recording)
    ]


def all_labels(speakers: Speakers, windows: int) -> list[str]:
    return [label for number in range(windows) for label in speakers.labels(number)]


@given(voices_of_windows, st.sampled_from([0.0, 0.2, 0.6]), st.none() | st.integers(1, 9))
def test_without_a_maximum_no_two_of_one_window_are_ever_joined(
    recording: list[list[tuple[int, int]]], noise: float, minimum: int | None
) -> None:
    windows = made(recording, noise)
    speakers = Speakers(SpeakerCount(minimum=minimum), LINKING, several=len(windows) > 1)
    for voices in windows:
        speakers.add(voices)
    speakers.finish()
    for number, voices in enumerate(windows):
        heard_as: dict[str, set[int]] = {}
        for label, local in zip(speakers.labels(number), voices.labels.tolist(), strict=True):
            heard_as.setdefault(label, set()).add(local)
        assert all(len(locals_) == 1 for locals_ in heard_as.values())


@given(voices_of_windows, st.sampled_from([0.2, 0.6]), st.none() | st.integers(1, 4))
def test_settled_labels_never_change_and_keep_the_maximum(
    recording: list[list[tuple[int, int]]], noise: float, maximum: int | None
) -> None:
    windows = made(recording, noise)
    speakers = Speakers(SpeakerCount(maximum=maximum), LINKING, several=len(windows) > 1)
    given_out: list[str] = []
    for number, voices in enumerate(windows):
        speakers.add(voices)
        given_out += speakers.labels(number)
        assert all_labels(speakers, number + 1) == given_out
    speakers.finish()
    assert all_labels(speakers, len(windows)) == given_out
    assert maximum is None or len(set(given_out)) <= maximum


@given(voices_of_windows, st.integers(1, 12))
def test_the_number_asked_for_is_met_wherever_there_are_pieces_enough(
    recording: list[list[tuple[int, int]]], asked: int
) -> None:
    windows = made(recording, 0.2)  # so that no two pieces are the same
    speakers = Speakers(SpeakerCount(exactly=asked), LINKING, several=len(windows) > 1)
    for voices in windows:
        speakers.add(voices)
    speakers.finish()
    pieces = sum(len(voices.labels) for voices in windows)
    assert len(set(all_labels(speakers, len(windows)))) == min(asked, pieces)

import pytest

from proxy_app.speech import merge
from tests.bench.ami import Meeting, alone, jittered, load, wrong_words
from tests.data import test_data


@pytest.fixture(scope="module")
def meetings() -> list[Meeting]:
    return load(test_data("ami"))


@pytest.mark.parametrize(
    ("turns", "without_overlap", "noisy", "limit"),
    [
        # What was measured (tests.bench.merge), and a little on top.
        pytest.param("vbx", True, False, 1.90, id="vbx"),
        pytest.param("vbx", True, True, 1.93, id="vbx, noisy"),
        pytest.param("vbx", False, False, 13.65, id="vbx, all words"),
        pytest.param("ref", True, False, 0.0, id="reference"),
        pytest.param("ref", True, True, 0.045, id="reference, noisy"),
        pytest.param("ref", False, False, 12.4, id="reference, all words"),
    ],
)
def test_words_of_meetings_get_their_speakers(
    meetings: list[Meeting], turns: str, without_overlap: bool, noisy: bool, limit: float
) -> None:
    wrong = total = 0
    for meeting in meetings:
        words = alone(meeting.words) if without_overlap else meeting.words
        words = jittered(words, meeting.name) if noisy else words
        merged = merge([word.token() for word in words], meeting.turns[turns])
        given_to = [word.speaker for segment in merged.segments for word in segment.words]
        wrong += wrong_words([word.speaker for word in words], given_to)
        total += len(words)
    assert 100 * wrong / total <= limit


def test_the_best_mapping_of_speakers_is_found() -> None:
    assert wrong_words("aabbc", ["x", "y", "y", "y", "z"]) == 1
    assert wrong_words("aaabbb", ["x", "x", "y", "y", "x", "x"]) == 3
    assert wrong_words("aab", ["x", None, "x"]) == 2
    assert wrong_words("aaa", ["x", "y", "z"]) == 2
    assert wrong_words("", []) == 0

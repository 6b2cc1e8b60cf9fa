"""The order of a transcription's steps, and what each one gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from images.serving.heard import Chunk, Heard
from images.serving.recording import Samples
from images.whisperx.app.alignment import Aligner
from images.whisperx.app.speech_map import FRAME_S, SpeechMap
from images.whisperx.app.transcription import TEMPERATURES, Wish
from images.whisperx.app.transcription.steps import Written, transcribe
from proxy_app.speech import Decoding
from tests.standins.engine_hearing import StandInAligner, StandInHearing
from tests.standins.engine_speech import StandInDetector, StandInRecording


def nobody(language: str) -> Aligner | None:
    """No language has an aligner."""
    return None


def run(
    transcriber: StandInHearing,
    duration_s: float,
    *spans: tuple[float, float],
    wish: Wish | None = None,
    find_aligner: Callable[[str], Aligner | None] = nobody,
) -> list[Written]:
    """All steps; each leaves a mark in the transcriber's log."""
    frames = np.zeros(round(duration_s / FRAME_S), dtype=np.float32)
    for start_s, end_s in spans:
        frames[round(start_s / FRAME_S) : round(end_s / FRAME_S)] = 0.9
    recording = StandInRecording(frames)
    speech = SpeechMap(recording, StandInDetector())
    steps = []
    for step in transcribe(
        transcriber, recording, speech, wish or Wish(language="en"), find_aligner
    ):
        steps.append(step)
        transcriber.log.append("-")
    untils = [step.until_s for step in steps]
    assert untils == sorted(untils)
    assert untils[-1] == pytest.approx(duration_s, abs=FRAME_S)
    tokens = [token for step in steps for token in step.tokens]
    assert [token.start for token in tokens] == sorted(token.start or 0.0 for token in tokens)
    assert "".join(token.text for token in tokens).strip() == " ".join(texts(steps))
    return steps


def texts(steps: list[Written]) -> list[str]:
    """The segments' texts."""
    return [segment.text for step in steps for segment in step.segments]


def minutes(count: int) -> list[tuple[float, float]]:
    """Speech of 20 s in every half minute."""
    return [(30.0 * number + 5, 30.0 * number + 25) for number in range(2 * count)]


def test_the_first_batches_are_small_so_that_text_is_there_soon() -> None:
    transcriber = StandInHearing()
    steps = run(transcriber, 420.0, *minutes(7))
    assert transcriber.log == [
        *("1 in en", "-", "2 in en", "-", "4 in en", "-", "4 in en", "-", "3 in en", "-", "-"),
    ]
    assert texts(steps)[:2] == ["5-25.", "35-55."]
    assert steps[0].until_s == pytest.approx(25.4, abs=0.1)
    assert len(texts(steps)) == 14


def test_each_chunk_is_weighed_in_a_step_of_its_own_where_that_is_asked_for() -> None:
    transcriber = StandInHearing()
    run(transcriber, 60.0, *minutes(1), wish=Wish(language="en", logprobs=True))
    assert transcriber.log == [
        *("1 in en", "-", "weighed 5", "-", "1 in en", "-", "weighed 35", "-", "-"),
    ]


def test_batches_that_take_long_are_followed_by_smaller_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    takes_s = iter((2.0, 6.0, 3.0, 9.0, 9.0, 9.0, 4.0, 6.0, 6.0))
    clock = [0.0]

    class Slow(StandInHearing):
        """Its batches take so long."""

        def hear(
            self, chunks: Sequence[Chunk], samples: Sequence[Samples], language: str, wish: Wish
        ) -> list[Heard]:
            """See `Transcriber`."""
            clock[0] += next(takes_s)
            return super().hear(chunks, samples, language, wish)

    monkeypatch.setattr(f"{transcribe.__module__}.time.monotonic", lambda: clock[0])
    slow = Slow()
    run(slow, 480.0, *minutes(8))
    sizes = [int(entry.removesuffix(" in en")) for entry in slow.log if entry != "-"]
    assert sizes == [1, 2, 2, 4, 2, 1, 1, 2, 1]


def test_a_doubtful_chunk_is_heard_again_and_aligned_after_that() -> None:
    transcriber = StandInHearing(doubtful=(65,))
    aligner = StandInAligner(transcriber.log)
    steps = run(transcriber, 90.0, *minutes(1), (65.0, 85.0), find_aligner=lambda _: aligner)
    assert transcriber.log == [
        *("1 in en", "-", "align 5-25.", "-"),
        *("2 in en", "-", "align 35-55.", "-", "again 65 at 0.0", "-", "align H65-85.", "-", "-"),
    ]
    assert texts(steps) == ["5-25.", "35-55.", "H65-85."]
    assert [segment.end for step in steps for segment in step.segments] == [
        pytest.approx(start + 0.5, abs=0.1) for start in (4.6, 34.6, 64.6)
    ]


def test_a_doubtful_chunk_is_heard_at_rising_temperatures_until_it_makes_sense() -> None:
    doubtful = {at: Decoding(temperature=at, avg_logprob=-2.0) for at in (0.0, 0.2)}
    transcriber = StandInHearing(doubtful=(5,), tries=doubtful)
    steps = run(transcriber, 30.0, (5.0, 25.0))
    # Each try is a step of its own, so that others need not wait for all of them.
    again = ("again 5 at 0.0", "-", "again 5 at 0.2", "-", "again 5 at 0.4", "-")
    assert transcriber.log == ["1 in en", "-", *again, "-"]
    assert decodings(steps) == [Decoding(temperature=0.4, tokens=(7,))]


def test_of_tries_that_all_are_doubtful_the_surest_that_varies_is_kept() -> None:
    tries = {at: Decoding(temperature=at, avg_logprob=-2.0 - at) for at in TEMPERATURES}
    tries[0.0] = Decoding(avg_logprob=-0.1, compression_ratio=9.0)
    transcriber = StandInHearing(doubtful=(5,), tries=tries)
    steps = run(transcriber, 30.0, (5.0, 25.0))
    assert len([entry for entry in transcriber.log if "again" in entry]) == len(TEMPERATURES)
    assert [one.temperature for one in decodings(steps)] == [0.2]


def test_a_chunk_is_told_of_before_the_next_one_is_tried_again() -> None:
    steps = run(StandInHearing(doubtful=(65,)), 90.0, *minutes(1), (65.0, 85.0))
    assert [texts([step]) for step in steps if step.segments] == [
        ["5-25."],
        ["35-55."],
        ["H65-85."],
    ]


def test_a_wished_temperature_is_not_for_batches() -> None:
    transcriber = StandInHearing()
    steps = run(transcriber, 60.0, *minutes(1), wish=Wish(language="en", temperature=0.7))
    assert [entry for entry in transcriber.log if entry != "-"] == [
        "again 5 at 0.7",
        "again 35 at 0.7",
    ]
    assert [decoding.temperature for decoding in decodings(steps)] == [0.7, 0.7]


def test_the_language_is_looked_for_all_over_the_recording() -> None:
    transcriber, asked = StandInHearing(), list[str]()
    steps = run(transcriber, 600.0, *minutes(10), wish=Wish(), find_aligner=asked.append)
    assert transcriber.log[:7] == [*("-" * 5), "language of [30, 30, 30, 30, 30]", "-"]
    assert (steps[0].language, steps[5].language, steps[-1].language) == ("", "de", "de")
    assert transcriber.log[7] == "1 in de"
    assert asked == ["de"]


def test_the_language_of_a_short_recording_is_that_of_all_of_it() -> None:
    transcriber = StandInHearing()
    run(transcriber, 9.0, (0.0, 9.0), wish=Wish())
    assert transcriber.log[:2] == ["-", "language of [9]"]


def test_the_language_of_a_recording_with_little_speech_is_that_of_its_speech() -> None:
    transcriber = StandInHearing()
    steps = run(transcriber, 600.0, (470.0, 478.0), wish=Wish())
    assert "language of [9]" in transcriber.log
    assert texts(steps) == ["470-478."]


@pytest.mark.parametrize(
    ("languages", "wished", "expected"),
    [(("de", "en"), None, ""), (("de", "en"), "de", "de"), (("en",), None, "en")],
)
def test_silence_has_no_text_and_no_language_but_the_one_that_is_certain(
    languages: tuple[str, ...], wished: str | None, expected: str
) -> None:
    transcriber = StandInHearing(languages=languages)
    steps = run(transcriber, 600.0, wish=Wish(language=wished))
    assert set(transcriber.log) == {"-"}
    assert len(steps) >= 7  # silence can be interrupted too
    assert steps[-1].language == expected
    assert texts(steps) == []


def test_a_model_of_one_language_is_not_asked_for_it() -> None:
    transcriber = StandInHearing(languages=("en",))
    run(transcriber, 9.0, (0.0, 9.0), wish=Wish())
    assert transcriber.log == ["1 in en", "-", "-"]


def test_a_translation_is_english_and_is_not_aligned() -> None:
    transcriber = StandInHearing()
    aligner = StandInAligner(transcriber.log)
    wish = Wish(translate=True)
    steps = run(transcriber, 9.0, (0.0, 9.0), wish=wish, find_aligner=lambda _: aligner)
    assert transcriber.log == ["-", "language of [9]", "-", "1 in de", "-", "-"]
    assert {step.language for step in steps} == {"", "en"}


def test_of_one_possible_language_nobody_is_asked() -> None:
    transcriber = StandInHearing(languages=("de", "en", "fr"))
    run(transcriber, 9.0, (0.0, 9.0), wish=Wish(languages=("fr",)))
    assert transcriber.log == ["1 in fr", "-", "-"]


def test_chunks_without_words_are_not_aligned() -> None:
    transcriber = StandInHearing(deaf=True)
    aligner = StandInAligner(transcriber.log)
    steps = run(transcriber, 60.0, *minutes(1), find_aligner=lambda _: aligner)
    assert transcriber.log == ["1 in en", "-", "1 in en", "-", "-"]
    assert texts(steps) == []


def decodings(steps: list[Written]) -> list[Decoding]:
    found = [segment.decoding for step in steps for segment in step.segments]
    return [decoding for decoding in found if decoding]

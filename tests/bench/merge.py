"""Merge: share of words given to the wrong speaker, beside WhisperX's rule in the same run.

    TEST_DATA=... python -m tests.bench.merge

The words are AMI's, with the annotators' times or these with noise (sd 0.1 s, seeded); the turns
are a real diarizer's (VBx) or the annotators'. Rows without overlap hold the words during which
nobody else says one, and only these are merged; the other rows hold all words. Every second meeting
by name (the first, the third, ...) was used to tune proxy_app/speech/attribution.py; the others are
"held out".

Beside it: whisperx 3.8.6, `whisperx.diarize.assign_word_speakers`, plain and with fill_nearest.
Without whisperx in the environment its columns are left out, and the table says so.
"""

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy_app.speech import Turn, merge
from tests.bench.ami import Meeting, SpokenWord, alone, jittered, load, wrong_words

Rule = Callable[[Sequence[SpokenWord], Sequence[Turn]], tuple[list[str | None], float]]
"""Gives each word its speaker; returns the speakers and the seconds it took."""


@dataclass(frozen=True)
class Case:
    """Some words of a meeting and the turns to give them to."""

    words: list[SpokenWord]
    turns: list[Turn]


def ours(words: Sequence[SpokenWord], turns: Sequence[Turn]) -> tuple[list[str | None], float]:
    tokens = [word.token() for word in words]
    start = time.perf_counter()
    merged = merge(tokens, turns)
    took = time.perf_counter() - start
    return [word.speaker for segment in merged.segments for word in segment.words], took


def whisperx_rule(*, fill_nearest: bool) -> Rule:
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415
    from whisperx.diarize import assign_word_speakers  # noqa: PLC0415

    def rule(words: Sequence[SpokenWord], turns: Sequence[Turn]) -> tuple[list[str | None], float]:
        frame = pd.DataFrame(
            [(turn.start, turn.end, turn.speaker) for turn in turns],
            columns=["start", "end", "speaker"],
        )
        entries = [{"word": word.text, "start": word.start, "end": word.end} for word in words]
        segment = {"start": words[0].start, "end": words[-1].end, "text": "", "words": entries}
        transcript: Any = {"segments": [segment]}
        start = time.perf_counter()
        answer = assign_word_speakers(frame, transcript, fill_nearest=fill_nearest)
        took = time.perf_counter() - start
        return [word.get("speaker") for word in answer["segments"][0]["words"]], took

    return rule


def rules() -> dict[str, Rule]:
    try:
        plain, filled = (whisperx_rule(fill_nearest=fill) for fill in (False, True))
    except ImportError as error:
        print(f"whisperx is not in this environment ({error}): measured alone.\n")
        return {"ours": ours}
    return {"ours": ours, "whisperx": plain, "whisperx, fill_nearest": filled}


def cases(meeting: Meeting) -> dict[str, Case]:
    """By name of the row."""
    turns = {"VBx": meeting.turns["vbx"], "reference": meeting.turns["ref"]}
    overlap = {"without overlap": alone(meeting.words), "all words": meeting.words}
    return {
        f"{whose} turns, {which}{noise}": Case(
            jittered(words, meeting.name) if noise else list(words), turns[whose]
        )
        for whose in turns
        for which, words in overlap.items()
        for noise in ("", ", noisy times")
    }


def main() -> int:
    if not os.environ.get("TEST_DATA"):
        print("TEST_DATA is not set: the folder with ami/", file=sys.stderr)
        return 2
    measured = rules()
    gc.freeze()  # the peer's imports are not to be searched for garbage while anybody is timed
    wrong: dict[tuple[str, str, bool], int] = {}
    counts: dict[tuple[str, bool], int] = {}
    seconds = dict.fromkeys(measured, 0.0)
    for number, meeting in enumerate(load(Path(os.environ["TEST_DATA"]) / "ami")):
        held_out = number % 2 == 1
        for row, case in cases(meeting).items():
            counts[row, held_out] = counts.get((row, held_out), 0) + len(case.words)
            for name, rule in measured.items():
                given_to, took = rule(case.words, case.turns)
                seconds[name] += took
                errors = wrong_words([word.speaker for word in case.words], given_to)
                key = (row, name, held_out)
                wrong[key] = wrong.get(key, 0) + errors
    _print_table(list(measured), wrong, counts)
    print()
    for name, took in seconds.items():
        print(f"{name}: {sum(counts.values()) / took:,.0f} words a second")
    return 0


def _print_table(
    names: Sequence[str],
    wrong: dict[tuple[str, str, bool], int],
    counts: dict[tuple[str, bool], int],
) -> None:
    print("Words with the wrong speaker, % (in brackets: the held-out meetings)\n")
    print("| AMI |", " | ".join(["words", *names]), "|")
    print("|---|" + "---:|" * (len(names) + 1))
    for row in dict.fromkeys(row for row, _ in counts):
        total = counts[row, False] + counts[row, True]
        cells = [f"{total:,}"]
        for name in names:
            held_out = wrong[row, name, True] / counts[row, True]
            whole = (wrong[row, name, False] + wrong[row, name, True]) / total
            cells.append(f"{whole:.3%} ({held_out:.3%})".replace("%", ""))
        print(f"| {row} |", " | ".join(cells), "|")


if __name__ == "__main__":
    sys.exit(main())

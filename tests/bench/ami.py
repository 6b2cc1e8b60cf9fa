"""AMI meetings as the merge's tests and measurements read them, and the word diarization error."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proxy_app.speech import Token, Turn, parse_rttm

JITTER_SD_S = 0.1


@dataclass(frozen=True)
class SpokenWord:
    """A word as it was annotated: times in seconds, and who said it."""

    start: float
    end: float
    speaker: str
    text: str

    def token(self) -> Token:
        return Token(self.text, self.start, self.end)


@dataclass(frozen=True)
class Meeting:
    """One meeting: its words in order of start, and turns by where they come from."""

    name: str
    words: list[SpokenWord]
    turns: dict[str, list[Turn]]  # "vbx", a real diarizer's, and "ref", the annotators'


def load(folder: Path) -> list[Meeting]:
    """Every meeting of a folder: MEETING.words.tsv, MEETING.vbx.rttm and MEETING.ref.rttm."""
    return [
        Meeting(
            name=(name := path.name.removesuffix(".words.tsv")),
            words=_words(path),
            turns={
                kind: parse_rttm((folder / f"{name}.{kind}.rttm").read_text())
                for kind in ("vbx", "ref")
            },
        )
        for path in sorted(folder.glob("*.words.tsv"))
    ]


def _words(path: Path) -> list[SpokenWord]:
    lines = (line.split("\t") for line in path.read_text().splitlines())
    words = [SpokenWord(float(start), float(end), who, text) for start, end, who, text in lines]
    return sorted(words, key=lambda word: (word.start, word.end))


def alone(words: Sequence[SpokenWord]) -> list[SpokenWord]:
    """The words during which no word of another speaker is said."""
    overlapped = set()
    still: list[int] = []
    for index, word in enumerate(words):
        still = [other for other in still if words[other].end > word.start]
        for other in still:
            if words[other].speaker != word.speaker and word.end > word.start:
                overlapped |= {index, other}
        still.append(index)
    return [word for index, word in enumerate(words) if index not in overlapped]


def jittered(words: Sequence[SpokenWord], seed: str) -> list[SpokenWord]:
    """The words with normal noise on both times, as a recogniser's times have it."""
    noise = random.Random(seed)
    moved = []
    for word in words:
        times = (word.start + noise.gauss(0, JITTER_SD_S), word.end + noise.gauss(0, JITTER_SD_S))
        start, end = sorted(max(0.0, time) for time in times)
        moved.append(SpokenWord(start, end, word.speaker, word.text))
    return sorted(moved, key=lambda word: (word.start, word.end))


def wrong_words(said_by: Sequence[str], given_to: Sequence[str | None]) -> int:
    """How many words have the wrong speaker after the best one-to-one mapping of speakers.

    A word without a speaker is wrong, and so is one of a speaker that is mapped to nobody. The
    numerator of the word diarization error rate (arXiv 1907.05337) where every word is right.
    """
    together = Counter(zip(said_by, given_to, strict=True))
    people = sorted(set(said_by))
    best = {0: 0}  # the set of people taken, as bits: the most words that are right
    for label in {label for label in given_to if label is not None}:
        for taken, right in list(best.items()):
            for bit, person in enumerate(people):
                if not taken & 1 << bit:
                    now = taken | 1 << bit
                    best[now] = max(best.get(now, 0), right + together[person, label])
    return len(said_by) - max(best.values())

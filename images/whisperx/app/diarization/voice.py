"""The voices of people: sums of what was heard of each, and how alike two are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from images.whisperx.app.diarization import Voices


@dataclass(slots=True, eq=False)
class Voice:
    """Somebody as far as heard, in a window or in all so far.

    Attributes:
        total: the sum of all pieces' embeddings, each times its length.
        speech_s: how much speech that was.
        windows: where it was heard.
    """

    total: NDArray[np.float64]
    speech_s: float
    windows: frozenset[int]

    def __add__(self, other: Voice) -> Voice:
        return Voice(
            self.total + other.total,
            self.speech_s + other.speech_s,
            self.windows | other.windows,
        )

    @property
    def direction(self) -> NDArray[np.float64]:
        """The voice, of length 1, however much was heard; 0 where it is unknown."""
        length = float(np.linalg.norm(self.total))
        return self.total / length if length else self.total

    def likeness(self, other: Voice) -> float:
        """The cosine between both; 0 where one is unknown."""
        return float(self.direction @ other.direction)


def likenesses(voices: Sequence[Voice], people: Sequence[Voice]) -> NDArray[np.float64]:
    """The cosine of each voice, a row, and each person, a column; 0 where one is unknown."""
    rows, columns = (np.stack([one.total for one in some]) for some in (voices, people))
    lengths = np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(columns, axis=1))
    return np.divide(rows @ columns.T, lengths, out=np.zeros(lengths.shape), where=lengths > 0)


def voices_of(
    voices: Voices, labels: NDArray[np.int64], window: int
) -> Iterator[tuple[int, Voice]]:
    """The voices of a window, given the label of each piece."""
    lengths = voices.ends - voices.starts
    for label in dict.fromkeys(labels.tolist()):
        own = labels == label
        total = lengths[own] @ voices.embeddings[own].astype(np.float64)
        # Pieces overlap; what several of them cover is heard once.
        heard_until = np.concatenate(([-np.inf], np.maximum.accumulate(voices.ends[own])[:-1]))
        new_from = np.maximum(voices.starts[own], heard_until)
        speech_s = np.maximum(voices.ends[own] - new_from, 0).sum()
        yield label, Voice(total, float(speech_s), frozenset({window}))

"""Who is who in the windows of a recording: voices are linked by their embeddings.

Between windows only the sound of a voice tells who it is, and how much that says depends on how
much was heard of it. Within a window the diarizer has heard everybody side by side: whom it tells
apart there stays apart here, unless the client says that there are fewer people.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from images.whisperx.app.diarization import SpeakerCount, Voices
from images.whisperx.app.diarization.voice import Voice, likenesses, voices_of

_ITERATIONS = 30
"""2-means settles in fewer; this only bounds it."""
_MET = 0.15
"""By so much more alike two who spoke in one window must be than two who never met."""
_SPEECH_EACH_S = 1.5
"""Speakers are not split further than to so much speech for each: a word would have several."""
_ROUNDING = 1e-6
"""Halves of a voice whose pieces differ by less are one and the same embedding."""


@dataclass(frozen=True, slots=True)
class Linking:
    """What the embeddings of a model have to show before two voices are one person's.

    Attributes:
        needed: (seconds, cosine), by seconds: so alike two voices have to be when the one that is
            known less is known from so much speech; between the points it is interpolated.
        margin: by so much a match has to be better than the next, ...
        sure: ... unless it is as good as this.
        brief_s: a voice that says less, and that nobody is recognised by, ...
        brief: ... is not new but the person it is most like, if it is so alike.
    """

    needed: tuple[tuple[float, float], ...]
    margin: float
    sure: float
    brief_s: float
    brief: float

    def cosine_needed(self, seconds: float) -> float:
        """How alike a voice known from so much speech has to be."""
        lengths, cosines = zip(*self.needed, strict=True)
        return float(np.interp(seconds, lengths, cosines))


class Speakers:
    """The speakers of a recording, found window by window.

    Args:
        count: what the client knows about their number.
        linking: what the model's embeddings have to show.
        several: whether the recording has more than one window.
    """

    def __init__(self, count: SpeakerCount, linking: Linking, *, several: bool) -> None:
        self._count = count
        self._linking = linking
        self._several = several
        # The last window can bring a speaker too many, or show that there are too few. A maximum
        # alone is kept to as the speakers come.
        self._waits = several and (count.exactly, count.minimum) != (None, None)
        self._people: dict[int, Voice] = {}
        self._numbers = itertools.count()
        self._heard: list[Voices] = []
        self._owners: list[NDArray[np.int64]] = []

    @property
    def settled(self) -> bool:
        """Whether the labels given so far stay as they are."""
        return not self._waits

    def add(self, voices: Voices) -> None:
        """Find the speakers of the next window."""
        local = dict(voices_of(voices, voices.labels, len(self._owners)))
        owners = self._recognise(local)
        for label, owner in owners.items():
            self._note(owner, local[label])
        owned = [owners[label] for label in voices.labels.tolist()]
        self._owners.append(np.array(owned, dtype=np.int64))
        if self._waits or not self._several:
            self._heard.append(voices)
        if not self._several:
            self._put_right()

    def finish(self) -> None:
        """Put the number of speakers right, now that the last window is added."""
        if self._waits:
            self._put_right()
        self._waits = False

    def labels(self, window: int) -> list[str]:
        """The speaker of each piece of a window; windows count from 0, as they were added."""
        names = self._names()
        return [names[owner] for owner in self._owners[window].tolist()]

    def voices(self) -> dict[str, Voice]:
        """The voice of each speaker, as far as heard."""
        return {name: self._people[owner] for owner, name in self._names().items()}

    def _names(self) -> dict[int, str]:
        order = dict.fromkeys(owner for owners in self._owners for owner in owners.tolist())
        return {owner: f"Speaker_{number}" for number, owner in enumerate(order)}

    def _note(self, owner: int, voice: Voice) -> None:
        known = self._people.get(owner)
        self._people[owner] = voice if known is None else known + voice

    def _recognise(self, local: Mapping[int, Voice]) -> dict[int, int]:
        """The person whom each voice of a window belongs to; no two belong to one."""
        labels, known = list(local), list(self._people)
        owners: dict[int, int] = {}
        if known and local:
            # Rows are the window's voices and columns are people; who is matched is taken out.
            free = likenesses(list(local.values()), list(self._people.values()))
            best_first = np.argsort(-free, axis=None, kind="stable").tolist()
            for accepts in (self._is_sure, self._is_trace):
                for place in best_first:
                    row, column = divmod(place, len(known))
                    voice, person = local[labels[row]], self._people[known[column]]
                    if np.isfinite(free[row, column]) and accepts(voice, person, free, row, column):
                        owners[labels[row]] = known[column]
                        free[row], free[:, column] = -np.inf, -np.inf
        self._welcome(local, owners)
        return owners

    def _is_sure(
        self, voice: Voice, person: Voice, free: NDArray[np.float64], row: int, column: int
    ) -> bool:
        likeness = free[row, column]
        if likeness >= self._linking.sure:
            return True
        if likeness < self._linking.cosine_needed(min(voice.speech_s, person.speech_s)):
            return False
        rivals = np.concatenate((np.delete(free[row], column), np.delete(free[:, column], row)))
        return bool(likeness - rivals.max(initial=-1.0) >= self._linking.margin)

    def _is_trace(
        self, voice: Voice, _person: Voice, free: NDArray[np.float64], row: int, column: int
    ) -> bool:
        return voice.speech_s < self._linking.brief_s and free[row, column] >= self._linking.brief

    def _welcome(self, local: Mapping[int, Voice], owners: dict[int, int]) -> None:
        """Add to `owners` those who are new, or whom they are most like where none may be."""
        allowed = self._count.most if self._several and not self._waits else None
        people = dict(self._people)
        newcomers = [label for label in local if label not in owners]
        for label in sorted(newcomers, key=lambda label: -local[label].speech_s):
            voice = local[label]
            if allowed is None or len(people) < allowed:
                owners[label] = next(self._numbers)
                people[owners[label]] = voice
            else:
                taken = set(owners.values())
                owners[label] = max(
                    people, key=lambda owner: (owner not in taken, voice.likeness(people[owner]))
                )

    def _put_right(self) -> None:
        """Join or split speakers until there are as many as the client says."""
        while self._count.most is not None and len(self._people) > self._count.most:
            self._join()
        halves: dict[int, _Halves] = {}
        speech_s = sum(voice.speech_s for voice in self._people.values())
        wanted = min(self._count.least, int(speech_s / _SPEECH_EACH_S))
        while 0 < len(self._people) < wanted:
            halves |= {owner: self._halves(owner) for owner in self._people if owner not in halves}
            owner = max(halves, key=lambda owner: halves[owner].difference)
            if halves[owner].difference <= _ROUNDING:
                break
            self._split(owner, halves.pop(owner))

    def _join(self) -> None:
        """Make one of the two who are most alike; those who met were told apart side by side."""

        def fitness(pair: tuple[int, int]) -> float:
            one, other = (self._people[owner] for owner in pair)
            handicap = 0.0 if one.windows.isdisjoint(other.windows) else _MET
            return one.likeness(other) - handicap

        one, other = max(itertools.combinations(self._people, 2), key=fitness)
        self._note(one, self._people.pop(other))
        for owners in self._owners:
            owners[owners == other] = one

    def _halves(self, owner: int) -> _Halves:
        own = [owners == owner for owners in self._owners]
        pieces = [voices.embeddings[mine] for voices, mine in zip(self._heard, own, strict=True)]
        return _two_means(np.concatenate([part for part in pieces if len(part)]))

    def _split(self, owner: int, halves: _Halves) -> None:
        """Make another person of the second half of one's pieces."""
        other = next(self._numbers)
        is_second = iter(halves.is_second)
        del self._people[owner]
        for window, (owners, voices) in enumerate(zip(self._owners, self._heard, strict=True)):
            own = np.flatnonzero(owners == owner)
            owners[own[[next(is_second) for _piece in own]]] = other
            for label, voice in voices_of(voices, owners, window):
                if label in (owner, other):
                    self._note(label, voice)


@dataclass(frozen=True, slots=True)
class _Halves:
    """Somebody's pieces in two groups.

    Attributes:
        is_second: shape (pieces,), bool: the group of each.
        difference: by how much the squares of the distances from the means fall if both groups have
            a mean of their own (Ward's criterion); that favours halves of some size.
    """

    is_second: NDArray[np.bool_]
    difference: float


def _two_means(points: NDArray[np.float32]) -> _Halves:
    """2-means from the two sides of the mean, along the direction in which the points differ most.

    Args:
        points: shape (points, size).
    """
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    is_second = centred @ direction > 0
    for _iteration in range(_ITERATIONS):
        if is_second.all() or not is_second.any():
            return _Halves(is_second, 0.0)
        first, second = centred[~is_second].mean(axis=0), centred[is_second].mean(axis=0)
        before = is_second
        is_second = centred @ (second - first) > (second @ second - first @ first) / 2
        if (is_second == before).all():
            break
    sizes = len(points) - is_second.sum(), is_second.sum()
    distance = first - second
    return _Halves(is_second, float(sizes[0] * sizes[1] / len(points) * (distance @ distance)))

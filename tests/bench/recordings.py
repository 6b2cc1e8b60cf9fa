"""The recordings that the engine is measured on: a call, and long ones joined from many.

Joined are the clips of TEST_DATA/audio and the call, or instead the recordings of BENCH_AUDIO, a
folder. Each has its turn, in another order each round, with a gain of its own and half a second of
room before the next.
"""

from __future__ import annotations

import os
import wave
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxy_app.audio import to_wav

RATE = 16_000
TURN_S = 120
"""A recording that is longer goes on at its next turn."""
GAINS = (0.4, 1.0)
ROOM_S = 0.5
ROOM_LEVEL = 10
"""Standard deviation of the room's noise: -70 dB of full scale."""
HEARD_S = 5.0
"""Who speaks for less altogether is hardly there for a diarizer."""


class MissingAudioError(Exception):
    """There is nothing to make the long recordings of; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """One real recording, as a canonical WAV, and for how many seconds each person in it speaks."""

    name: str
    path: Path
    people: dict[str, float] | None


@dataclass(frozen=True)
class Recording:
    """One to be measured with; `people` is how many there really are, where that is known."""

    name: str
    path: Path
    seconds: float
    people: int | None
    origin: str


class Recordings:
    """Makes recordings when they are asked for.

    Args:
        folder: where they are written.
        python: the engine's interpreter; the call lies in its environment.
    """

    def __init__(self, folder: Path, python: Path) -> None:
        packages = python.parent.parent / "lib"
        (self._call,) = packages.glob("python3*/site-packages/pyannote/audio/sample/sample.wav")
        self._folder = folder
        self._made: dict[int, Recording] = {}

    @property
    def call(self) -> Recording:
        """30 s of a telephone call, from pyannote.audio's wheel."""
        people = _speech(self._call.with_suffix(".rttm"))["sample"]
        return Recording("sample.wav", self._call, 30.0, len(people), "a telephone call; 2 people")

    def joined(self, minutes: int) -> Recording:
        """A recording of this length.

        Raises:
            MissingAudioError: neither TEST_DATA nor BENCH_AUDIO has recordings.
        """
        if minutes not in self._made:
            path = self._folder / f"joined-{minutes}.wav"
            sources = self._sources()
            turns = join(sources, minutes * 60, path)
            people = _people(sources, turns)
            origin = _origin(turns, people)
            count = None if people is None else len(people)
            self._made[minutes] = Recording(f"{minutes} min", path, minutes * 60, count, origin)
        return self._made[minutes]

    def _sources(self) -> list[Source]:
        own = os.environ.get("BENCH_AUDIO")
        clips = Path(own or Path(os.environ.get("TEST_DATA") or "TEST_DATA") / "audio")
        paths = sorted(path for path in clips.glob("*") if path.suffix in (".flac", ".wav"))
        if not paths:
            raise MissingAudioError(
                f"no recordings in {clips}: set TEST_DATA, or BENCH_AUDIO to a folder of WAVs"
            )
        known = {} if own else _speech(clips / "ami.rttm")
        sources = []
        for path in paths:
            wav = self._folder / f"{path.stem}.wav"
            seconds = to_wav(path, wav).duration_s
            one_person = {path.stem: seconds}  # a clip that is not annotated is a speech
            people = None if own else known.get(path.stem, one_person)
            sources.append(Source(path.stem, wav, people))
        if own:
            return sources
        call = _speech(self._call.with_suffix(".rttm"))["sample"]
        return [*sources, Source("sample", self._call, call)]


def join(sources: list[Source], seconds: int, path: Path) -> Counter[str]:
    """Write a recording of this length; returns how often each source had its turn."""
    random = np.random.default_rng(1)
    parts = {source.name: _parts(source.path) for source in sources}
    turns: Counter[str] = Counter()
    left = seconds * RATE
    with wave.open(str(path), "wb") as joined:
        joined.setparams((1, 2, RATE, 0, "NONE", ""))
        while left:
            for number in random.permutation(len(sources)):
                name = sources[number].name
                spoken = random.uniform(*GAINS) * next(parts[name])
                room = random.normal(0, ROOM_LEVEL, round(ROOM_S * RATE))
                turn = np.concatenate([spoken, room])[:left]
                joined.writeframesraw(turn.clip(-32768, 32767).astype("<i2").tobytes())
                left -= len(turn)
                turns[name] += 1
                if not left:
                    break
    return turns


def _parts(path: Path) -> Iterator[NDArray[np.int16]]:
    """A recording in parts of up to TURN_S, again and again."""
    while True:
        with wave.open(str(path)) as recording:
            while frames := recording.readframes(TURN_S * RATE):
                yield np.frombuffer(frames, dtype="<i2")


def _speech(rttm: Path) -> dict[str, dict[str, float]]:
    """For each recording of an RTTM file the seconds that each person speaks."""
    speech: dict[str, dict[str, float]] = {}
    for line in rttm.read_text(encoding="utf-8").splitlines():
        _, recording, _, _, seconds, _, _, person, *_ = line.split()
        people = speech.setdefault(recording, {})
        people[person] = people.get(person, 0.0) + float(seconds)
    return speech


def _people(sources: list[Source], turns: Counter[str]) -> dict[str, float] | None:
    """For how many seconds each person speaks in what was joined; None where nobody knows."""
    spoken: dict[str, float] = {}
    for source in sources:
        if source.people is None:
            return None
        for person, seconds in source.people.items():
            spoken[person] = spoken.get(person, 0.0) + turns[source.name] * seconds
    return {person: seconds for person, seconds in spoken.items() if seconds}


def _origin(turns: Counter[str], people: dict[str, float] | None) -> str:
    times = sorted(set(turns.values()))
    often = f"{times[0]}" if len(times) == 1 else f"{times[0]} to {times[-1]}"
    origin = f"{', '.join(sorted(turns))}, each {often} times"
    if people is None:
        return origin
    heard = sum(seconds >= HEARD_S for seconds in people.values())
    return f"{origin}; {len(people)} people, {heard} of them for {HEARD_S:.0f} s or more in all"

"""Recordings that stand-ins understand: each word is a blip whose height says which, and whose."""

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from proxy_app.audio.wav import HEADER_BYTES, RATE, header

_QUIET = 500
_OF_A_SPEAKER = 4000
_OF_A_WORD = 20


class Blip(NamedTuple):
    """A word: its number (0 to 99), whose it is (0 to 3), and its times in seconds."""

    number: int
    speaker: int
    start: float
    end: float

    @property
    def text(self) -> str:
        return f"w{self.number}"


def recording(blips: Iterable[Blip], duration_s: float) -> bytes:
    """A WAV in which these words are said, with a murmur between them."""
    samples = array("h", (i * 37 % 41 - 20 for i in range(round(duration_s * RATE))))
    for blip in blips:
        height = 2000 + blip.speaker * _OF_A_SPEAKER + blip.number * _OF_A_WORD
        for index in range(round(blip.start * RATE), round(blip.end * RATE)):
            samples[index] = height
    return header(2 * len(samples)) + samples.tobytes()


def heard(wav: bytes) -> list[Blip]:
    """The words in a WAV; one that was cut is heard as two."""
    assert wav[:4] == b"RIFF"
    samples = array("h", wav[HEADER_BYTES:])
    assert len(wav) == HEADER_BYTES + int.from_bytes(wav[40:44], "little"), "the header lies"
    blips, began = [], -1
    for index in range(len(samples) + 1):
        loud = index < len(samples) and samples[index] > _QUIET
        if loud and began < 0:
            began = index
        elif not loud and began >= 0:
            height = samples[began] - 2000
            speaker, rest = divmod(height, _OF_A_SPEAKER)
            blips.append(Blip(rest // _OF_A_WORD, speaker, began / RATE, index / RATE))
            began = -1
    return blips


def dialogue(count: int, *, every_s: float = 0.5, people: int = 2) -> Sequence[Blip]:
    """So many words, of which each speaker says five before the next one does."""
    return [
        Blip(n, n // 5 % people, round(0.1 + n * every_s, 3), round(0.1 + (n + 0.6) * every_s, 3))
        for n in range(count)
    ]

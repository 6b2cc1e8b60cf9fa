"""Speech in the formats that clients ask for, as it is made: `encoded(sounds, ...)`.

FFmpeg (PyAV) encodes in a child process with limits, which gets a piece, gives back what became of
it, and only then gets the next one.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from proxy_app.audio import wav
from proxy_app.audio.confined import confined

_CHILD = Path(__file__).with_name("encode_child.py")
_MEMORY_BYTES = 1024**3
"""Address space, of which FFmpeg's libraries take the most."""
_CPU_S = 300
_FADE_S = 0.005
"""Pieces fade in and out: a jump from one sample to the next is heard as a click."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Speech as a voice made it."""

    rate: int
    """Samples per second."""
    samples: bytes
    """16-bit, mono, the lower byte first."""
    wav: bytes = b""
    """The same as it came, where that was a WAV."""

    @property
    def duration_s(self) -> float:
        """How long it is, in seconds."""
        return len(self.samples) / wav.SAMPLE_BYTES / self.rate


@dataclass(frozen=True, slots=True)
class Format:
    """A format as clients name it, and what makes it."""

    name: str
    content_type: str
    muxer: str
    codec: str
    rate: int | None
    """Samples per second; None for those of the voice."""
    bit_rate: int = 0
    options: dict[str, str] = field(default_factory=dict)


_RATE = 24_000
"""What OpenAI's voices have, and what clients take pcm for."""
FORMATS = {
    made.name: made
    for made in (
        # Without the header that would have the length, which nobody knows yet.
        Format(
            *("mp3", "audio/mpeg", "mp3", "libmp3lame", _RATE, 64_000),
            {"write_xing": "0", "id3v2_version": "0"},
        ),
        # Pages of a tenth of a second instead of whole ones.
        Format(
            *("opus", "audio/opus", "ogg", "libopus", _RATE, 32_000), {"page_duration": "100000"}
        ),
        Format("aac", "audio/aac", "adts", "aac", _RATE, 64_000),
        Format("flac", "audio/flac", "flac", "flac", None),
        Format("wav", "audio/wav", "s16le", "pcm_s16le", None),
        Format("pcm", f"audio/pcm;rate={_RATE};channels=1", "s16le", "pcm_s16le", _RATE),
    )
}
"""By name. A wav is made of its samples, once their number is known."""


def needs_encoder(wanted: Format, speed: float) -> bool:
    """Whether sounds as they are said are not what is wanted: `encoded` starts a process then."""
    return wanted.rate is not None or wanted.muxer != "s16le" or speed != 1


def encoded(sounds: Iterator[Sound], *, wanted: Format, speed: float = 1.0) -> Generator[bytes]:
    """The bytes of a file that has these sounds in it, as they become known.

    Args:
        sounds: of one rate; each is taken once what came before it was given out.
        wanted: the file's format; of a wav only the samples come.
        speed: how much faster than they are, at the same pitch.

    Raises:
        ChildError: the encoder crashed, or met its limits.
    """
    if not needs_encoder(wanted, speed):
        yield from (sound.samples for sound in sounds)
        return
    with confined(_CHILD, memory_bytes=_MEMORY_BYTES, cpu_s=_CPU_S) as child:
        rate = 0
        for sound in sounds:
            if not rate:
                rate = sound.rate
                child.send(_order(rate, wanted, speed))
            if sound.samples:
                child.send(sound.samples)
                yield from iter(child.receive, b"")
        child.send(b"")
        if rate:
            yield from iter(child.receive, b"")


def _order(rate: int, wanted: Format, speed: float) -> bytes:
    order = {
        "rate": rate,
        "speed": speed,
        "wanted": {
            "format": wanted.muxer,
            "codec": wanted.codec,
            "rate": wanted.rate or rate,
            "bit_rate": wanted.bit_rate,
            "options": wanted.options,
        },
    }
    return json.dumps(order).encode()


def smooth(sound: Sound, pause_s: float) -> Sound:
    """A piece that is joined with others without a click: faded at its ends, a pause after it."""
    samples = array("h", sound.samples)
    length = min(int(_FADE_S * sound.rate), len(samples) // 2)
    for number in range(length):
        samples[number] = samples[number] * number // length
        samples[-1 - number] = samples[-1 - number] * number // length
    return Sound(sound.rate, samples.tobytes() + silence(sound.rate, pause_s).samples)


def silence(rate: int, seconds: float) -> Sound:
    """Nothing."""
    return Sound(rate, bytes(int(rate * seconds) * wav.SAMPLE_BYTES))

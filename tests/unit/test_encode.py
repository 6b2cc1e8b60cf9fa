"""Speech in the formats that clients ask for: read back by FFmpeg, as a client would."""

from __future__ import annotations

import io
import math
import struct
import time
import wave
from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import pytest

from proxy_app.audio import encode, wav
from proxy_app.audio.confined import ChildError, confined
from proxy_app.audio.encode import FORMATS, Sound, encoded, smooth

RATE = 22_050


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0) -> bytes:
    step = 2 * math.pi * hertz / rate
    samples = (round(8000 * math.sin(step * n)) for n in range(int(seconds * rate)))
    return array("h", samples).tobytes()


def made(name: str, *pieces: bytes, speed: float = 1.0) -> bytes:
    sounds = (Sound(RATE, samples) for samples in pieces)
    return b"".join(encoded(sounds, wanted=FORMATS[name], speed=speed))


def smoothed(samples: bytes, pause_s: float) -> bytes:
    return smooth(Sound(RATE, samples), pause_s).samples


def decoded(name: str, data: bytes) -> tuple[int, array[int]]:
    """The rate and the samples of a file, by PyAV; of a wav or pcm by their bytes."""
    if name in ("wav", "pcm"):
        return FORMATS[name].rate or RATE, array("h", data)
    samples: array[int] = array("h")
    with av.open(io.BytesIO(data), "r") as file:
        (stream,) = file.streams.audio
        assert stream.codec_context.layout.nb_channels == 1
        rate = stream.codec_context.sample_rate
        resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
        for frame in [*file.decode(audio=0), None]:
            for made in resampler.resample(frame):
                samples.frombytes(bytes(made.planes[0])[: 2 * made.samples])
    return rate, samples


def hertz(rate: int, samples: array[int]) -> float:
    """The pitch of a tone: how often it rises through zero, in its middle."""
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    rises = sum(1 for one, other in pairwise(middle) if one < 0 <= other)
    return rises * rate / len(middle)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_what_was_said(name: str) -> None:
    rate, samples = decoded(name, made(name, tone(0.5), tone(0.5), tone(0.25)))
    assert rate == {"wav": RATE, "flac": RATE, "opus": 48_000}.get(name, 24_000)
    assert len(samples) / rate == pytest.approx(1.25, abs=0.15)
    assert hertz(rate, samples) == pytest.approx(440, rel=0.02)


@pytest.mark.parametrize("speed", [0.25, 1.5])
def test_another_speed_keeps_the_pitch(speed: float) -> None:
    data = made("pcm", tone(2.0), speed=speed)
    rate, samples = decoded("pcm", data)
    assert len(samples) / rate == pytest.approx(2.0 / speed, rel=0.1)
    assert hertz(rate, samples) == pytest.approx(440, rel=0.03)


@pytest.mark.parametrize("name", ["mp3", "opus"])
def test_what_a_piece_became_comes_before_the_next_one_is_made(name: str) -> None:
    begun = []

    def sounds() -> Iterator[Sound]:
        for number in range(3):
            begun.append(number)
            yield Sound(RATE, tone(1.0))

    assert len(next(encoded(sounds(), wanted=FORMATS[name]))) > 1000
    assert begun == [0]


def test_who_does_not_want_the_rest_leaves_no_process() -> None:
    seen = []
    with confined(encode._CHILD, memory_bytes=2**30, cpu_s=10) as child:
        seen.append(child._process)
    assert seen[0].returncode is not None


def test_an_encoder_that_fails_says_so() -> None:
    with pytest.raises(ChildError, match="ended early"):
        made("mp3", tone(0.1), speed=-1.0)


def test_an_encoder_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_MEMORY_BYTES", 64 * 1024 * 1024)
    with pytest.raises(ChildError):
        made("mp3", tone(0.1))


def test_pieces_are_joined_without_a_jump() -> None:
    loud = array("h", [12_000] * RATE).tobytes()
    joined = array("h", smoothed(loud, 0.1) + smoothed(loud, 0.0))
    jumps = [abs(one - other) for one, other in pairwise(joined)]
    assert max(jumps) < 250
    assert len(joined) == 2 * RATE + int(0.1 * RATE)
    assert (joined[0], joined[-1], max(joined)) == (0, 0, 12_000)
    assert smoothed(b"", 0.0) == b""
    assert smoothed(b"\1\0", 0.0) == b"\1\0"


@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_is_read_whatever_it_says_of_its_length(channels: int) -> None:
    sound = array("h", tone(0.1))
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(channels)
        written.setsampwidth(2)
        written.setframerate(RATE)
        written.writeframes(array("h", (s for s in sound for _ in range(channels))).tobytes())
    data = bytearray(file.getvalue())
    assert wav.parse(bytes(data)) == (RATE, sound.tobytes())
    data[40:44] = b"\xff\xff\xff\xff"
    assert wav.parse(bytes(data)) == (RATE, sound.tobytes())
    assert wav.parse(wav.header(2, 48_000) + b"\1\0") == (48_000, b"\1\0")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("kind", "bits", "code"), [(1, 8, "B"), (1, 24, ""), (1, 32, "i"), (3, 32, "f"), (3, 64, "d")]
)
@pytest.mark.parametrize("is_extensible", [False, True])
def test_other_widths_of_samples_are_read(
    channels: int, kind: int, bits: int, code: str, *, is_extensible: bool
) -> None:
    wanted = [0, 1 << 8, -(1 << 8), 100 << 8, -(128 << 8), 127 << 8]
    if code:
        scale = {"B": 1 / 256, "i": 1 << 16, "f": 1 / 32768, "d": 1 / 32768}[code]
        values = [
            it * scale + (128 if code == "B" else 0) for it in wanted for _ in range(channels)
        ]
        samples = array(code, values if kind == 3 else map(int, values)).tobytes()
    else:
        each = (it.to_bytes(2, "little", signed=True) for it in wanted for _ in range(channels))
        samples = b"".join(b"\7" + it for it in each)
    block = channels * bits // 8
    tag = 0xFFFE if is_extensible else kind
    form = struct.pack("<HHIIHH", tag, channels, RATE, RATE * block, block, bits)
    if is_extensible:
        form += struct.pack("<HHIH14s", 22, bits, 0, kind, b"")
    head = b"RIFF\0\0\0\0WAVEfmt " + len(form).to_bytes(4, "little") + form
    rate, found = wav.parse(head + b"data" + len(samples).to_bytes(4, "little") + samples)
    assert rate == RATE
    assert [round(it / 256) for it in array("h", found)] == [it >> 8 for it in wanted]


def test_what_is_compressed_in_a_wav_is_named() -> None:
    mu_law = wav.header(4).replace(b"\1\0\1\0", b"\7\0\1\0") + b"1234"
    with pytest.raises(ValueError, match="samples of kind 7"):
        wav.parse(mu_law)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"{}", wav.header(4)[:30],
        wav.header(4).replace(b"\x10\0data", b"\x08\0data") + b"1234",
        wav.header(0, 1) + b"12",
    ],
)  # fmt: skip
def test_what_is_no_wav_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no WAV"):
        wav.parse(data)


def test_who_gives_an_encoder_work_may_take_longer_over_it_than_the_encoder(tmp_path: Path) -> None:
    script = tmp_path / "impatient.py"
    script.write_text(IMPATIENT.format(str(encode._CHILD)))
    with confined(script, memory_bytes=2**30, cpu_s=10) as child:
        child.send(encode._order(RATE, FORMATS["pcm"], 1.0))
        for _ in range(2):
            child.send(tone(0.1))
            assert b"".join(iter(child.receive, b""))
            time.sleep(1.5)  # a service speaks, or a client reads


IMPATIENT = """
import runpy
child = runpy.run_path({!r})
child["main"].__globals__["WITHIN_S"] = 1
child["main"]()
"""
"""The encoder's process, with a second for a block."""

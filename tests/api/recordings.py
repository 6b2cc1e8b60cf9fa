"""Recordings made for the tests, good and bad."""

import io
import math
import struct
import wave
from functools import cache
from typing import Any

import av
import numpy as np


@cache
def canonical_wav(seconds: float, rate: int = 16_000, channels: int = 1) -> bytes:
    """A tone as 16-bit WAV."""
    count = round(seconds * rate)
    tone = np.sin(np.arange(count) * (2 * math.pi * 440 / rate)) * 8000
    samples = np.repeat(tone.astype("<i2")[:, None], channels, axis=1)
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setnchannels(channels)
        file.setframerate(rate)
        file.setsampwidth(2)
        file.writeframes(samples.tobytes())
    return output.getvalue()


def claiming(wav: bytes, data_size: int) -> bytes:
    """The same file, with a header that says its samples take `data_size` bytes."""
    return wav[:4] + b"\xff\xff\xff\xff" + wav[8:40] + struct.pack("<I", data_size) + wav[44:]


@cache
def encoded(
    codec: str,
    container: str,
    seconds: float = 2.0,
    *,
    silence: bool = False,
    rate: int = 48_000,
) -> bytes:
    """A tone in another format, by PyAV."""
    output = io.BytesIO()
    with av.open(output, "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=rate)
        stream.codec_context.layout = "mono"
        for start in range(0, round(seconds * rate), rate):
            count = min(rate, round(seconds * rate) - start)
            tone = np.sin(np.arange(count) * (2 * math.pi * 440 / rate)) * (not silence) * 8000
            frame = av.AudioFrame.from_ndarray(tone.astype("int16")[None, :], "s16", "mono")
            frame.sample_rate = rate
            frame.pts = start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return output.getvalue()


PLAYLIST = b"#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"

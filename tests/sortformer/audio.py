"""Recordings in the forms that people send."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np


def encoded(container: str, codec: str, seconds: float) -> bytes:
    """A stereo tone in any of FFmpeg's formats."""
    buffer = io.BytesIO()
    rate = 48_000 if codec == "libopus" else 44_100
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate)
        stream.layout = "stereo"
        resampler = av.AudioResampler(stream.format, stream.layout, rate, stream.frame_size or 1024)
        time = np.arange(round(seconds * rate)) / rate
        tone = (np.sin(2 * np.pi * 440 * time) * 8000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]).T.reshape(1, -1), "s16", "stereo")
        frame.sample_rate = rate
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return buffer.getvalue()

"""The process that encodes speech: `python -I encode_child.py`, told what by its standard input.

It stands alone (standard library and PyAV), because it runs without the project on its path. Blocks
have their length before them, four bytes, the highest first. The first one is JSON: rate, wanted
(format, codec, rate, bit_rate, options), speed. Each further one is 16-bit mono samples, answered
by what they became and an empty block; an empty one is the end, after which comes the rest.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import av
import av.filter

STEP = 4096
"""Samples that are filtered at once."""
WITHIN_S = 60
"""Wall clock for a block."""


class Out:
    """What the muxer writes to; it can only be written at its end."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        """Keep it until the block is done."""
        self.data += data
        return len(data)


class Encoder:
    """Samples to a file's bytes, by way of the tempo and the rate."""

    def __init__(self, order: dict[str, Any], out: Out) -> None:
        wanted = order["wanted"]
        self._rate = order["rate"]
        self._out = av.open(
            out, "w", format=wanted["format"], options={"flush_packets": "1", **wanted["options"]}
        )
        self._stream: Any = self._out.add_stream(wanted["codec"], rate=wanted["rate"])
        context = self._stream.codec_context
        context.layout = "mono"
        if wanted["bit_rate"]:
            context.bit_rate = wanted["bit_rate"]
        self._out.start_encoding()
        self._tempo = tempo(self._rate, order["speed"]) if order["speed"] != 1 else None
        self._resampler = av.AudioResampler(
            format=context.format.name,
            layout="mono",
            rate=wanted["rate"],
            frame_size=context.frame_size or None,
        )
        self._samples = 0

    def take(self, samples: bytes) -> None:
        """Encode some samples."""
        for start in range(0, len(samples), 2 * STEP):
            part = samples[start : start + 2 * STEP]
            frame = av.AudioFrame(format="s16", layout="mono", samples=len(part) // 2)
            plane: Any = frame.planes[0]
            plane.update(part + bytes(plane.buffer_size - len(part)))
            frame.sample_rate = self._rate
            frame.pts = self._samples
            self._samples += frame.samples
            self._filter(frame)

    def end(self) -> None:
        """Encode what the filters still hold, and end the file."""
        if self._tempo is not None and self._samples:
            self._filter(None)
        for frame in self._resampler.resample(None):
            self._encode(frame)
        self._encode(None)
        self._out.close()

    def _filter(self, frame: av.AudioFrame | None) -> None:
        if self._tempo is None:
            self._resample(frame)
            return
        self._tempo.push(frame)
        while True:
            try:
                filtered: Any = self._tempo.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._resample(filtered)

    def _resample(self, frame: av.AudioFrame | None) -> None:
        if frame is not None:
            frame.pts = None  # they are counted anew: the tempo has changed them
        for resampled in self._resampler.resample(frame):
            self._encode(resampled)

    def _encode(self, frame: av.AudioFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self._out.mux(packet)


def tempo(rate: int, speed: float) -> Any:  # noqa: ANN401 - as PyAV declares it
    """FFmpeg's filter that changes the speed and keeps the pitch; it is best from half to twice."""
    steps = 1 if 0.5 <= speed <= 2 else 2  # noqa: PLR2004 - the filter's own bounds
    graph = av.filter.Graph()
    last: Any = graph.add_abuffer(sample_rate=rate, format="s16", layout="mono")
    for _ in range(steps):
        step = graph.add("atempo", f"{speed ** (1 / steps):.6f}")
        last.link_to(step)
        last = step
    last.link_to(graph.add("abuffersink"))
    graph.configure()
    return graph


def read_block() -> bytes:
    """The next block; nothing, if whoever wanted the work is gone."""
    return sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(4), "big"))


def write_block(data: bytes) -> None:
    """Answer."""
    sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)


def main() -> None:
    """Encode until the end."""
    order = read_block()
    if not order:
        return
    out = Out()
    encoder = Encoder(json.loads(order), out)
    samples = b"-"
    while samples:
        signal.alarm(0)  # who gives it work may wait for that as long as he likes
        samples = read_block()
        signal.alarm(WITHIN_S)
        if samples:
            encoder.take(samples)
        else:
            encoder.end()
        if out.data:
            write_block(bytes(out.data))
            out.data.clear()
        write_block(b"")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

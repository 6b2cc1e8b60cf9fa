"""The process that decodes one file: `python -I child.py ORDER`, ORDER being JSON.

It stands alone (standard library and PyAV), because it runs without the project on its path. It
prints {"samples": N} or {"error": WORD, "detail": TEXT}; limits that end it outright (processor
time, the alarm, a crash) show in its exit status.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import av.error

WAV_HEADER = 44
SAMPLE = 2
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that the kernel sends when the thread that started this process ends."""
WORDS = {
    errno.ENOMEM: "memory",
    errno.ENOSPC: "storage",
    errno.EDQUOT: "storage",
    errno.EFBIG: "too_long",
}


class RefusedError(Exception):
    """What is wrong with the file: a word for the parent, and a detail."""

    def __init__(self, word: str, detail: str = "") -> None:
        super().__init__(word)
        self.word = word
        self.detail = detail


def die_with(parent: int) -> None:
    """End with the process that wants the file; if that was killed, nobody else would see to it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        sys.exit(1)


def limit(order: dict[str, Any]) -> None:
    """Bound this process before it touches the file."""
    megabyte = 1024 * 1024
    output = WAV_HEADER + int(order["max_audio_s"] * order["rate"] * SAMPLE) + 8 * megabyte
    for kind, value in (
        (resource.RLIMIT_AS, order["memory_bytes"]),
        (resource.RLIMIT_CPU, order["cpu_s"]),
        (resource.RLIMIT_FSIZE, output),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901
        resource.setrlimit(kind, (value, hard))
    # The parent's own time-out does not fire if it hangs itself, or elsewhere than on Linux dies.
    signal.alarm(order["timeout_s"] + 1)


def decode(order: dict[str, Any]) -> int:
    """Write the samples after a place for the header; return how many there were in the file."""
    with open(order["source"], "rb") as source, open(order["target"], "wb") as target:  # noqa: PTH123
        target.write(bytes(WAV_HEADER))
        written = 0
        for samples in resampled(source, order):
            written += len(samples) // SAMPLE
            if written > order["max_audio_s"] * order["rate"]:
                raise RefusedError("too_long")
            target.write(samples)
        if written == 0:
            raise RefusedError("too_short")
        target.write(bytes(max(0, order["minimum_samples"] - written) * SAMPLE))
    return written


def resampled(source: BinaryIO, order: dict[str, Any]) -> Iterator[memoryview]:
    """The file's best audio track as mono 16-bit samples."""
    resampler: av.AudioResampler | None = None
    shape = None
    for frame in frames(source, order):
        if frame.layout.nb_channels > order["max_channels"]:
            raise RefusedError("channels", str(frame.layout.nb_channels))
        new_shape = (frame.sample_rate, frame.layout.name, frame.format.name)
        if (
            resampler is None or new_shape != shape
        ):  # a chained Ogg or a radio stream may change its mind
            if resampler is not None:
                yield from map(pcm, resampler.resample(None))
            resampler = av.AudioResampler(format="s16", layout="mono", rate=order["rate"])
            shape = new_shape
        frame.pts = None  # gaps in the time stamps must not be filled with invented samples
        yield from map(pcm, resampler.resample(frame))
    if resampler is None:
        raise RefusedError("invalid")
    yield from map(pcm, resampler.resample(None))


def frames(source: BinaryIO, order: dict[str, Any]) -> Iterator[av.AudioFrame]:
    """Decode, passing over damaged packets as FFmpeg's own program does."""
    # The file is handed over as bytes to read, by a demuxer that is named, and no protocol is
    # allowed: whatever the file refers to, nothing else can be opened.
    with av.open(
        source,
        mode="r",
        format=order["format"],
        options={"protocol_whitelist": "none", "format_whitelist": order["format"]},
    ) as container:
        track: Any = container.streams.best("audio")
        if track is None:
            raise RefusedError("no_audio")
        if track.codec_context is None:
            raise RefusedError("invalid")
        track.codec_context.thread_count = 1
        packets: Iterator[Any] = container.demux(track)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.InvalidDataError, av.error.EOFError):
                return
            try:
                yield from packet.decode()
            except (av.error.InvalidDataError, av.error.EOFError):
                continue


def pcm(frame: Any) -> memoryview:  # noqa: ANN401  - the planes' types are not declared
    """A frame's samples without the padding of its buffer."""
    return memoryview(frame.planes[0])[: frame.samples * SAMPLE]


def main() -> None:
    """Obey the order in the first argument; print the answer."""
    order = json.loads(sys.argv[1])
    die_with(order["parent"])
    limit(order)
    try:
        answer: dict[str, Any] = {"samples": decode(order)}
    except RefusedError as refused:
        answer = {"error": refused.word, "detail": refused.detail}
    except MemoryError:
        answer = {"error": "memory"}
    except (av.error.FFmpegError, OSError) as error:
        # Not every error of FFmpeg's is an OSError. Where one that is none of FFmpeg's has no word
        # here, a file could not be read or written: that is no fault of the recording.
        word = WORDS.get(error.errno or 0)
        if word is None and not isinstance(error, av.error.FFmpegError):
            raise
        answer = {"error": word or "invalid"}
    except (ValueError, EOFError):  # PyAV: an unknown decoder, a format it cannot set up
        answer = {"error": "invalid"}
    print(json.dumps(answer))  # noqa: T201 - this is the answer


if __name__ == "__main__":
    main()

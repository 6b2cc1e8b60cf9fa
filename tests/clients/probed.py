"""What ffprobe, which has nothing of ours, finds in a file of sound."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fleet.engine import MissingError, install


@dataclass(frozen=True)
class Sound:
    """A file with one stream of sound."""

    container: str
    codec: str
    rate: int
    channels: int
    seconds: float


@dataclass(frozen=True)
class Format:
    """What a response_format of /v1/audio/speech has to be."""

    content_type: str
    container: str
    codec: str
    rate: int

    def check(self, data: bytes, *, at_least_s: float, at_most_s: float = 60) -> Sound:
        """See that DATA is this, whole, mono, and about as long as it should be."""
        raw = ["-f", "s16le", "-ar", str(self.rate), "-ch_layout", "mono"]
        found = probed(data, *(raw if self.container == "s16le" else []))
        assert (found.container, found.codec) == (self.container, self.codec)
        assert (found.rate, found.channels) == (self.rate, 1)
        assert at_least_s <= found.seconds <= at_most_s
        return found


FORMATS = {
    "mp3": Format("audio/mpeg", "mp3", "mp3", 24_000),
    "opus": Format("audio/opus", "ogg", "opus", 48_000),  # ffprobe names the decoder's rate
    "aac": Format("audio/aac", "aac", "aac", 24_000),
    "flac": Format("audio/flac", "flac", "flac", 22_050),
    "wav": Format("audio/wav", "wav", "pcm_s16le", 22_050),
    "pcm": Format("audio/pcm;rate=24000;channels=1", "s16le", "pcm_s16le", 24_000),
}


@functools.cache
def _ffprobe() -> str:
    """Debian's, installed where it is missing; where that may not be, a skip says so."""
    try:
        install("ffprobe", package="ffmpeg")
    except MissingError as missing:
        pytest.skip(str(missing))
    return shutil.which("ffprobe") or "/usr/bin/ffprobe"


def probed(data: bytes, *options: str) -> Sound:
    """What is in it; every packet is decoded, so that one that breaks off fails."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "sound")
        file.write_bytes(data)
        show = ["-show_entries", "stream=codec_name,sample_rate,channels:format=format_name"]
        command = [
            _ffprobe(),
            "-v",
            "error",
            *options,
            *show,
            "-show_frames",
            "-of",
            "json",
            str(file),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    told = json.loads(done.stdout)
    (stream,) = told["streams"]
    rate = int(stream["sample_rate"])
    samples = sum(int(frame["nb_samples"]) for frame in told["frames"])
    return Sound(
        told["format"]["format_name"], stream["codec_name"], rate, int(stream["channels"]),
        samples / rate,
    )  # fmt: skip

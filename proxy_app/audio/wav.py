"""The one form of audio that services get: WAV, 16 kHz, mono, 16-bit PCM, a 44-byte header.

Voices give WAVs of other rates, which are read and written here too.

Sources: the RIFF/WAVE layout (IBM and Microsoft, 1991). Sizes are little-endian 32-bit numbers.
"""

from __future__ import annotations

import os
import struct
from array import array
from pathlib import Path
from typing import BinaryIO, NamedTuple

RATE = 16_000
"""Samples per second."""
SAMPLE_BYTES = 2
HEADER_BYTES = 44
MINIMUM_SAMPLES = RATE
"""Shorter recordings are padded with silence to one second: some models fail below that."""


def _format(rate: int) -> bytes:
    return struct.pack("<HHIIHH", 1, 1, rate, rate * SAMPLE_BYTES, SAMPLE_BYTES, 16)


_FORMAT = _format(RATE)
_CHUNK = struct.Struct("<4sI")
_MAXIMUM_CHUNKS = 32
_PCM = (1, 0xFFFE)
"""Plain samples, and the longer header that says so as well."""


class Pcm(NamedTuple):
    """Where the samples of a canonical WAV lie in its file, in bytes."""

    offset: int
    size: int
    file_size: int


def header(data_bytes: int, rate: int = RATE) -> bytes:
    """The 44 bytes before `data_bytes` bytes of samples."""
    return struct.pack(
        "<4sI4s4sI16s4sI",
        b"RIFF",
        HEADER_BYTES - 8 + data_bytes,
        b"WAVE",
        b"fmt ",
        len(_FORMAT),
        _format(rate),
        b"data",
        data_bytes,
    )


def find_canonical(path: Path) -> Pcm | None:
    """The samples of a file that is already 16 kHz mono 16-bit PCM WAV with true sizes, or None.

    None is no error: the file may be anything, also a WAV whose header lies. FFmpeg reads those.
    """
    with path.open("rb") as file:
        file_size = os.fstat(file.fileno()).st_size
        riff = file.read(12)
        if riff[:4] != b"RIFF" or riff[8:12] != b"WAVE":
            return None
        return _find_data(file, file_size)


def parse(data: bytes) -> tuple[int, bytes]:
    """The rate and the samples of a WAV in memory, of 16 bits, of several channels the first.

    Sizes are not believed: who streams a WAV cannot know them.

    Raises:
        ValueError: it is something else.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("no WAV")
    offset, found = 12, None
    while offset + _CHUNK.size <= len(data):
        name, size = _CHUNK.unpack_from(data, offset)
        offset += _CHUNK.size
        if name == b"fmt " and min(size, len(data) - offset) >= len(_FORMAT):
            found = struct.unpack_from("<HHIIHH", data, offset)
        if name == b"data" and found is not None:
            kind, channels, rate, _bytes_per_s, block, bits = found
            if kind not in _PCM or bits != 8 * SAMPLE_BYTES or not channels or not _is_rate(rate):
                break
            samples = data[offset : offset + size]
            samples = samples[: len(samples) - len(samples) % block]
            if channels == 1:
                return rate, samples
            return rate, array("h", samples)[::channels].tobytes()
        offset += size + size % 2
    raise ValueError("no WAV of 16-bit samples")


def _is_rate(rate: int) -> bool:
    return 4000 <= rate <= 192_000  # noqa: PLR2004 - what there is


def _find_data(file: BinaryIO, file_size: int) -> Pcm | None:
    known_format = False
    for _ in range(_MAXIMUM_CHUNKS):
        chunk = file.read(_CHUNK.size)
        if len(chunk) < _CHUNK.size:
            return None
        name, size = _CHUNK.unpack(chunk)
        offset = file.tell()
        if offset + size > file_size:
            return None
        if name == b"data":
            honest = size > 0 and size % SAMPLE_BYTES == 0
            return Pcm(offset, size, file_size) if known_format and honest else None
        if name == b"fmt ":
            known_format = size == len(_FORMAT) and file.read(size) == _FORMAT
        file.seek(offset + size + size % 2)
    return None

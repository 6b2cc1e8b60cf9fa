"""The one form of audio that services get: WAV, 16 kHz, mono, 16-bit PCM, a 44-byte header.

Voices give WAVs of other rates, which are read and written here too.

Sources: the RIFF/WAVE layout (IBM and Microsoft, 1991). Sizes are little-endian 32-bit numbers.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from proxy_app.turns import let_others

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
_UNKNOWN_BYTES = 0xFFFF_FFFF
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
"""Whole numbers, fractions, and the longer header that says which of them further behind."""
_EXTENSIBLE_BYTES = 40
_WIDTHS = frozenset({(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)})
_AT_ONCE = 32 * 1024
"""Fractions; others have a turn between so many and the next ones."""


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
    is_ours = False
    with path.open("rb") as file:
        file_size = os.fstat(file.fileno()).st_size
        for name, offset, size in _chunks(file):
            if offset + size > file_size:
                return None
            if name == b"data":
                is_honest = size > 0 and size % SAMPLE_BYTES == 0
                return Pcm(offset, size, file_size) if is_ours and is_honest else None
            if name == b"fmt ":
                is_ours = size == len(_FORMAT) and file.read(size) == _FORMAT
    return None


def is_empty(path: Path) -> bool:
    """Whether a WAV ends where its samples would begin, and promises none.

    One that promises some was cut off. Who streams says 0, or as much as can be said.
    """
    with path.open("rb") as file:
        for name, _offset, size in _chunks(file):
            if name == b"data":
                return size in (0, _UNKNOWN_BYTES) and not file.read(1)
    return False


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """The name, place and size of each chunk, in bytes; the file is at its content meanwhile."""
    riff = file.read(12)
    if riff[:4] != b"RIFF" or riff[8:12] != b"WAVE":
        return
    for _ in range(_MAXIMUM_CHUNKS):
        chunk = file.read(_CHUNK.size)
        if len(chunk) < _CHUNK.size:
            return
        name, size = _CHUNK.unpack(chunk)
        offset = file.tell()
        yield name, offset, size
        file.seek(offset + size + size % 2)


def parse(data: bytes) -> tuple[int, bytes]:
    """The rate and the samples of a WAV in memory, as 16 bits, of several channels the first.

    Samples may have 8, 16, 24 or 32 bits, or be fractions of 32 or 64. Sizes are not believed: who
    streams a WAV cannot know them.

    Raises:
        ValueError: it is something else; the message says what, for the log.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("no WAV")
    offset, found, extended = 12, None, _PCM
    while offset + _CHUNK.size <= len(data):
        name, size = _CHUNK.unpack_from(data, offset)
        offset += _CHUNK.size
        if name == b"fmt " and min(size, len(data) - offset) >= len(_FORMAT):
            found = struct.unpack_from("<HHIIHH", data, offset)
            if size >= _EXTENSIBLE_BYTES and offset + _EXTENSIBLE_BYTES <= len(data):
                (extended,) = struct.unpack_from("<H", data, offset + 24)
        if name == b"data" and found is not None:
            kind, channels, rate, _bytes_per_s, block, bits = found
            if kind == _EXTENSIBLE:
                kind = extended
            if (kind, bits) not in _WIDTHS or not channels or block * 8 != channels * bits:
                raise ValueError(f"no WAV that is read here: samples of kind {kind}, {bits} bits")
            if not _is_rate(rate):
                break
            samples = data[offset : offset + size]
            samples = _as_16_bits(samples[: len(samples) - len(samples) % block], kind, bits)
            if channels == 1:
                return rate, samples
            return rate, array("h", samples)[::channels].tobytes()
        offset += size + size % 2
    raise ValueError("no WAV with samples")


def _as_16_bits(samples: bytes, kind: int, bits: int) -> bytes:
    if kind == _FLOAT:
        return _of_fractions(array("f" if bits == 32 else "d", samples))  # noqa: PLR2004 - C's
    if bits == 8 * SAMPLE_BYTES:
        return samples
    made = bytearray(len(samples) * 8 // bits * SAMPLE_BYTES)
    if bits == 8:  # noqa: PLR2004 - without a sign, as the format has it
        made[1::2] = samples.translate(bytes(value ^ 0x80 for value in range(256)))
    else:
        width = bits // 8
        made[0::2], made[1::2] = samples[width - 2 :: width], samples[width - 1 :: width]
    return bytes(made)


def _of_fractions(samples: array[float]) -> bytes:
    made = bytearray()
    for start in range(0, len(samples), _AT_ONCE):
        part = samples[start : start + _AT_ONCE]
        made += array(
            "h",
            (int(max(-1.0, min(1.0, it)) * 32767) if it == it else 0 for it in part),  # noqa: PLR0124 - no number
        ).tobytes()
        let_others()
    return bytes(made)


def _is_rate(rate: int) -> bool:
    return 4000 <= rate <= 192_000  # noqa: PLR2004 - what there is

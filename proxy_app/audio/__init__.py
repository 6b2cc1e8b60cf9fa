"""Decode any recording to 16 kHz mono 16-bit WAV on disk, within limits; cut that in pieces.

`to_wav` is all that most need. The file is decoded by FFmpeg (PyAV) in a child process, so that a
codec that crashes or eats memory costs one request and not the server; PyAV is imported only there.
"""

from proxy_app.audio.cutting import Piece, pieces
from proxy_app.audio.decode import (
    AudioError,
    AudioInfo,
    DecodeLimits,
    GivenUpError,
    copy_canonical,
    to_wav,
)

__all__ = [
    "AudioError",
    "AudioInfo",
    "DecodeLimits",
    "GivenUpError",
    "Piece",
    "copy_canonical",
    "pieces",
    "to_wav",
]

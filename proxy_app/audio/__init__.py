"""Decode any recording to 16 kHz mono 16-bit WAV on disk, within limits.

`to_wav` is the whole interface. The file is decoded by FFmpeg (PyAV) in a child process, so that a
codec that crashes or eats memory costs one request and not the server; PyAV is imported only there.
"""

from proxy_app.audio.decode import (
    AudioError,
    AudioInfo,
    DecodeLimits,
    GivenUpError,
    copy_canonical,
    to_wav,
)

__all__ = ["AudioError", "AudioInfo", "DecodeLimits", "GivenUpError", "copy_canonical", "to_wav"]

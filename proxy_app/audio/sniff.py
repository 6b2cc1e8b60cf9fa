"""What a file is, by its first bytes. Names and content types are never trusted.

The answer is the name of one FFmpeg demuxer, which is then the only one allowed to open the file.
FFmpeg's own guess would open a playlist that is named .wav and fetch what it lists.
"""

from __future__ import annotations

import re

HEAD_BYTES = 1024
"""How much of a file's beginning these functions want to see."""

_CONTAINERS = [
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"(RIFF|RF64|BW64).{4}WAVE", "wav"),
        (rb"RIFF.{4}AVI ", "avi"),
        (rb"FORM.{4}AIF[FC]", "aiff"),
        (rb"fLaC", "flac"),
        (rb"OggS", "ogg"),
        (rb"\x1a\x45\xdf\xa3", "matroska"),  # WebM and Matroska
        (rb".{4}(ftyp|moov|mdat|wide|free|skip)", "mov"),  # MP4, M4A, QuickTime, 3GP
        (rb"#!AMR", "amr"),
        (rb"caff", "caf"),
        (rb"\.snd", "au"),
        (rb"wvpk", "wv"),
        (rb"FLV\x01", "flv"),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),  # WMA and WMV
        (rb"\x00\x00\x01\xba", "mpeg"),
        (rb"\x47.{187}\x47", "mpegts"),
        # MPEG audio without a container begins with eleven set bits, a version and a layer.
        (rb"\xff[\xf0\xf1\xf8\xf9]", "aac"),
        (rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]", "mp3"),
    )
]
_ID3_TAG = re.compile(rb"ID3..(.)([\x00-\x7f]{4})", re.DOTALL)
_REFUSED = [
    (re.compile(pattern, re.IGNORECASE), what)
    for pattern, what in (
        (rb"#EXTM3U|#EXT-X-|ffconcat|\[playlist\]", "a playlist, which is a list of other files"),
        (rb"<(svg|\?xml|!doctype|html)", "a text document (HTML, SVG or XML)"),
        # From 0x80 upwards: letters beyond ASCII, in UTF-8.
        (rb"[\t\n\r\x20-\x7e\x80-\xff]+\Z", "text"),
    )
]


def container_format(head: bytes) -> str | None:
    """FFmpeg's name of the container that these first bytes begin; None if none is known."""
    return next((name for magic, name in _CONTAINERS if magic.match(head)), None)


def id3_length(head: bytes) -> int:
    """How many bytes an ID3v2 tag at the beginning takes (0: there is none); audio follows it."""
    tag = _ID3_TAG.match(head)
    if tag is None:
        return 0
    has_footer = tag[1][0] & 0x10
    size = 0
    for seven_bits in tag[2]:
        size = size << 7 | seven_bits
    return 10 + size + (10 if has_footer else 0)


def describe_refused(head: bytes) -> str:
    """Say what a file is that is no known audio container, for the person who sent it."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for pattern, what in _REFUSED:
        if pattern.match(start):
            return what
    return "not in an audio format that is known here"

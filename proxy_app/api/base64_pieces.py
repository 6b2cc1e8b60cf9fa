"""Base64 that comes in pieces, so that no recording is in memory as a whole (RFC 4648)."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator

_GROUP = 4
"""Characters that are three bytes."""


def decoded(pieces: Iterable[bytes], *, is_filled_up: bool) -> Iterator[bytes]:
    """What base64 says, piece by piece.

    Args:
        pieces: of the text, cut anywhere, without blanks.
        is_filled_up: whether the end has to be filled up with `=`.

    Raises:
        ValueError: it is no base64.
    """
    rest = b""
    is_over = False
    for piece in pieces:
        rest += piece
        cut = len(rest) - len(rest) % _GROUP
        if is_over and rest:
            raise ValueError("something follows the end of the base64")
        if cut:
            yield _bytes(rest[:cut])
            is_over = rest[:cut].endswith(b"=")
            rest = rest[cut:]
    if rest and (is_over or is_filled_up):
        raise ValueError("the base64 breaks off")
    yield _bytes(rest + b"=" * (-len(rest) % _GROUP))


def _bytes(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise ValueError("it is no base64") from None

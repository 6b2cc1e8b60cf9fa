"""What a recogniser gives, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass

from proxy_app.speech import Decoding, Token


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a recording that is heard at once, in seconds from its beginning."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard in one chunk.

    Attributes:
        chunk: where.
        tokens: its words as the model spelt them, with the leading spaces that say where a word
            begins; their times are seconds from the recording's beginning, within the chunk.
        decoding: how sure the model was; `seek` and `tokens` are those of the chunk.
    """

    chunk: Chunk
    tokens: tuple[Token, ...]
    decoding: Decoding

"""How likely Whisper finds what it has written: its tokens' probabilities, word by word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from proxy_app.speech import Logprob, Token

_LEAST = 1e-37
"""What is less likely has no float of Whisper's arithmetic."""
_BLANKS = b" \t\n\r"


def _spelling() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for (GPT-2's table)."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {
        chr(256 + number): byte for number, byte in enumerate(hidden)
    }


_BYTES = _spelling()


def logprob(spelt: str, probability: float) -> Logprob:
    """A token with the logarithm of its probability.

    Args:
        spelt: as the vocabulary has it ("Ġheard").
        probability: 0 to 1.
    """
    data = b"".join(
        bytes([_BYTES[character]]) if character in _BYTES else character.encode(errors="replace")
        for character in spelt
    )
    return Logprob(data, math.log(max(probability, _LEAST)))


def with_logprobs(words: Sequence[Token], found: Sequence[Logprob]) -> tuple[Token, ...]:
    """The words, each with those of the model's tokens that begin in it.

    Both spell the same text, but for blanks; a token of nothing but blanks goes with what follows.
    """
    if not words:
        return ()
    ends = list(accumulate(_length(word.text.encode(errors="replace")) for word in words))
    shares: list[list[Logprob]] = [[] for _ in words]
    at = number = 0
    for each in found:
        while number < len(words) - 1 and ends[number] <= at:
            number += 1
        shares[number].append(each)
        at += _length(each.data)
    return tuple(
        replace(word, logprobs=tuple(share)) for word, share in zip(words, shares, strict=True)
    )


def _length(data: bytes) -> int:
    """How many bytes are no blanks."""
    return len(data.translate(None, _BLANKS))

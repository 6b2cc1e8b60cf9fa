"""Which scripts are written without spaces, and how wide a character is on a screen."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

# Han, kana, bopomofo and their punctuation; full-width forms. Korean is not here: it has spaces.
_CHINESE_JAPANESE = (
    (0x2E80, 0x312F),
    (0x3190, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE4F),
    (0xFF01, 0xFF9F),
    (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)
# Thai, Lao, Myanmar, Khmer: spaces divide phrases, not words.
_SOUTH_EAST_ASIAN = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))


@lru_cache(maxsize=8192)
def is_chinese_japanese(char: str) -> bool:
    """Whether no space goes beside this character."""
    return _within(char, _CHINESE_JAPANESE)


@lru_cache(maxsize=8192)
def is_south_east_asian(char: str) -> bool:
    """Whether no space goes between two words that meet in such characters."""
    return _within(char, _SOUTH_EAST_ASIAN)


@lru_cache(maxsize=8192)
def is_mark(char: str) -> bool:
    """Whether the character belongs to the one before it (an accent, a vowel sign, a joiner)."""
    return unicodedata.category(char).startswith("M") or char == "\u200d"


@lru_cache(maxsize=8192)
def is_wide(char: str) -> bool:
    """Whether the character is as wide as a Chinese one."""
    return unicodedata.east_asian_width(char) in "WF"


def is_wordlike(char: str) -> bool:
    """Whether the character is a letter, a digit or a part of one."""
    return char.isalnum() or is_mark(char)


def _within(char: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    point = ord(char)
    return any(low <= point <= high for low, high in ranges)

"""Whether what a service heard is what was said: compared by words, not by status."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

ENOUGH = 0.7
"""Small models mishear a word or two of a synthetic voice; a broken one says something else."""

_NO_WORD = re.compile(r"[^\w']+")


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return [word for word in _NO_WORD.split(text.lower()) if word.strip("'_")]


def likeness(said: str, heard: str) -> float:
    """How much two texts have in common, in order: from 0 to 1, which is every word.

    Ratcliff and Obershelp's measure over words (difflib): what was added counts like what lacks.
    """
    return SequenceMatcher(None, words(said), words(heard), autojunk=False).ratio()

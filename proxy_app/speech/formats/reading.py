"""What other programs send, taken with care: numbers that may be missing, words in lists."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from proxy_app.speech.formats.errors import FormatError
from proxy_app.speech.model import Token, Word


def parse_words(text: str) -> list[Token]:
    """The tokens of a JSON list of {word, start, end}; the times are seconds, null or left out.

    Raises:
        FormatError: not JSON, not a list, or an entry of another shape, which is named.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON: {error}") from None
    if not isinstance(entries, list):
        raise FormatError("a list of {word, start, end} is expected")
    return [_token(entry, number) for number, entry in enumerate(entries, 1)]


def _token(entry: object, number: int) -> Token:
    if not isinstance(entry, dict) or not isinstance(entry.get("word"), str):
        raise FormatError(f'entry {number}: an object with a text "word" is expected')
    for key in ("start", "end"):
        value = entry.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise FormatError(f'entry {number}: "{key}" is seconds or null, not {value!r:.40}')
    return Token(entry["word"], finite(entry.get("start")), finite(entry.get("end")))


def finite(value: object) -> float | None:
    """A JSON value as a number, or None if it is none that one can calculate with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def read_words(entries: object, speaker: str | None = None) -> tuple[Word, ...]:
    """The words of a list of {word, start, end}, or none unless every one has usable times."""
    if not isinstance(entries, list):
        return ()
    words = []
    for entry in entries:
        text, start, end = (
            (entry.get("word"), finite(entry.get("start")), finite(entry.get("end")))
            if isinstance(entry, dict)
            else (None, None, None)
        )
        if not isinstance(text, str) or start is None or end is None or not 0 <= start <= end:
            return ()
        words.append(Word(" ".join(text.split()), start, end, speaker))
    return tuple(words)


def read_list(answer: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """A list of objects in an answer; an absent or null one is empty.

    Raises:
        FormatError: it is something else.
    """
    entries = answer.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FormatError(f'"{key}" is to be a list of objects')
    return entries


def read_object(answer: Mapping[str, Any], key: str) -> dict[str, Any]:
    """An object in an answer.

    Raises:
        FormatError: it is something else, or absent.
    """
    found = answer.get(key)
    if not isinstance(found, dict):
        raise FormatError(f'"{key}" is to be an object')
    return found


def read_text(answer: Mapping[str, Any], key: str) -> str:
    """A text in an answer; an absent or null one is empty.

    Raises:
        FormatError: it is something else.
    """
    text = answer.get(key) or ""
    if not isinstance(text, str):
        raise FormatError(f'"{key}" is to be a text')
    return text


def read_span(start: float | None, end: float | None, earliest: float) -> tuple[float, float]:
    """A start and an end in order; a missing start is `earliest`, a missing end the start."""
    begin = earliest if start is None else max(0.0, start)
    return begin, max(begin, end if end is not None else begin)

"""A service's key, which it may quote in what it says when something is wrong."""

from __future__ import annotations

import re
from typing import Any

from proxy_app.services import Service

HIDDEN = "***"
SHORTEST = 12
"""Characters. Many local servers take any key, and are given "-", "x", "gpt" or "local": that is
no secret, and to take it out would spoil numbers, words and names that have nothing to do with it.
"""
_BEFORE = r"(?:(?<![0-9A-Za-z_-])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt]))"
"""Nothing of a longer word, but for what is escaped: `Bearer%20KEY` ends in a digit. Only ASCII:
some languages put no blanks between words."""
_BEHIND = r"(?![0-9A-Za-z_-])"


def without_key(service: Service, told: Any, *, lists: bool = True) -> Any:  # noqa: ANN401 - JSON
    """The same JSON, whose texts and names do not have the service's own key.

    A key of less than SHORTEST characters is left where it is, and so is one inside a longer run of
    letters, digits, `-` and `_`, as that is another word.

    Args:
        service: whose key.
        told: JSON, or a text.
        lists: whether it is taken out of what is in lists as well.

    Raises:
        RecursionError: it is nested too deep.
    """
    key = service.api_key or ""
    if len(key) < SHORTEST:
        return told
    return _without(re.compile(_BEFORE + re.escape(key) + _BEHIND), told, lists=lists)


def _without(key: re.Pattern[str], told: Any, *, lists: bool) -> Any:  # noqa: ANN401 - JSON
    if isinstance(told, str):
        return key.sub(HIDDEN, told)
    if isinstance(told, dict):
        return {
            key.sub(HIDDEN, name): _without(key, value, lists=lists) for name, value in told.items()
        }
    if isinstance(told, list) and lists:
        return [_without(key, value, lists=lists) for value in told]
    return told

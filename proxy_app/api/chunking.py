"""chunking_strategy: "auto", or an object of type server_vad, however it was sent."""

from __future__ import annotations

import json
import math
import re

from werkzeug.datastructures import MultiDict

from proxy_app.errors import BadRequestError
from proxy_app.upstreams import Vad

_NAME = "chunking_strategy"
_PART = re.compile(rf"{_NAME}\[(\w{{1,40}})\]")
_AUTO = ("", "auto", "null")
_MOST_MS = 10_000
_PARTS = ("type", "prefix_padding_ms", "silence_duration_ms", "threshold")


def chunking_strategy(fields: MultiDict[str, str]) -> Vad | None:
    """How the fields want speech told from silence; None leaves that to the service.

    Raises:
        BadRequestError: it is neither "auto" nor such an object.
    """
    text = fields.get(_NAME, "").strip()
    parts: dict[str, object] = {
        found[1]: value for name, value in fields.items() if (found := _PART.fullmatch(name))
    }
    if not parts:
        if text in _AUTO:
            return None
        parts = _object(text)
    kind = parts.get("type")
    if kind == "auto" and len(parts) == 1:
        return None
    if kind != "server_vad":
        raise _wrong(f"Invalid value: '{str(kind)[:40]}'. The type must be 'server_vad'.")
    if unknown := sorted(parts.keys() - set(_PARTS)):
        raise _wrong(f"Unknown parameter: '{_NAME}.{unknown[0][:40]}'.")
    return Vad(
        threshold=_number(parts, "threshold", 1.0),
        prefix_padding_s=_seconds(parts, "prefix_padding_ms"),
        silence_s=_seconds(parts, "silence_duration_ms"),
    )


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _wrong(
            f"Invalid value: '{text[:40]}'. Supported values are: 'auto', or an object of type "
            "'server_vad'."
        )
    return found


def _seconds(parts: dict[str, object], name: str) -> float | None:
    milliseconds = _number(parts, name, _MOST_MS)
    if milliseconds is None:
        return None
    if not milliseconds.is_integer():
        raise _wrong(f"Invalid type for '{_NAME}.{name}': expected an integer.")
    return milliseconds / 1000


def _number(parts: dict[str, object], name: str, most: float) -> float | None:
    """A number of the object, which in a form is a text."""
    value = parts.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(f"Invalid type for '{_NAME}.{name}': expected a number.")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= most:
        raise _wrong(
            f"Invalid '{_NAME}.{name}': expected a number from 0 to {most:g}, but got "
            f"{str(value)[:40]!r} instead."
        )
    return number


def _wrong(message: str) -> BadRequestError:
    return BadRequestError(message, param=_NAME)

"""Jinja's filters: numbers and times as people read them, and the shapes of small drawings."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from flask import Flask

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_STATES = {"given_up": "Given up", "timed_out": "Timed out"}


def init_app(app: Flask) -> None:
    """Give the templates these filters."""
    for words in (moment, lasted, seconds, percent, state, sparkline):
        app.add_template_filter(words)


def moment(time: str | None) -> str:
    """An RFC 3339 time without its fractions, in UTC: what stands there until the script comes."""
    if not time:
        return ""
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def lasted(begin: str | None, end: str | None) -> str:
    """The time between two moments with its two largest units, "2 min 3 s"; empty without both.

    static/time.js says the same of what is not over.
    """
    if not begin or not end:
        return ""
    length = datetime.fromisoformat(end) - datetime.fromisoformat(begin)
    return seconds(length.total_seconds())


def seconds(length_s: float) -> str:
    """A length of time with its two largest units."""
    parts: list[str] = []
    rest = max(0, round(length_s))
    for unit, length in _UNITS:
        count, rest = divmod(rest, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def percent(share: float | None) -> str:
    """A share of 1."""
    return "" if share is None else f"{min(1.0, max(0.0, share)):.0%}"


def state(name: str) -> str:
    """A state as a word for people."""
    return _STATES.get(name, name.replace("_", " ").capitalize())


def sparkline(shares: Iterable[float | None], width: int = 100, height: int = 20) -> str:
    """The points of an SVG polyline through shares of 1, the newest at the right edge."""
    known = [(index, share) for index, share in enumerate(shares) if share is not None]
    if len(known) < 2:  # noqa: PLR2004 - one point is no line
        return ""
    last = known[-1][0]
    step = width / max(1, last)
    return " ".join(
        f"{index * step:.1f},{height - min(1.0, max(0.0, share)) * height:.1f}"
        for index, share in known
    )

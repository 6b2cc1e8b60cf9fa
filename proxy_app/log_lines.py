"""Lines of the log: whatever is quoted in one, it stays one, and is no command to a terminal.

Only the standard library: gunicorn imports this file before gevent has patched it.
"""

from __future__ import annotations

import logging
import unicodedata

FORMAT = "%(asctime)s %(levelname)s %(message)s"
_LONGEST = 4000
"""Characters of a message; services' texts are shorter."""
_INDENT = "    "
_CONTROLS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories: controls, what turns the direction of text, halves, ends of lines."""


class Formatter(logging.Formatter):
    """As the library's, but nothing that is quoted is more than text."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """A record's first line, which is its only one."""
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - the library's name
        """A traceback, none of whose lines begins as one of the log."""
        lines = super().formatException(ei).split("\n")  # type: ignore[arg-type]
        return "\n".join(_INDENT + escaped(line) for line in lines)


def escaped(text: str) -> str:
    """The same in one line and of bounded length, where nothing but print is left as it is."""
    shown = text[:_LONGEST]
    if not shown.isprintable():
        shown = "".join(map(_escaped, shown))
    return shown + "..." * (len(text) > _LONGEST)


def _escaped(character: str) -> str:
    if unicodedata.category(character) in _CONTROLS:
        return character.encode("unicode_escape").decode()
    return character


def begin(level: int) -> None:
    """Log to standard error, from that level on."""
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])

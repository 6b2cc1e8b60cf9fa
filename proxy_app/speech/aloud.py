"""What of a text is read aloud: words, and not the signs that only make it look well."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from proxy_app.speech.markup import (
    held,
    readable,
    released,
    without_addresses,
    without_emphasis,
    without_tags,
)

_FENCES = ("```", "~~~")
_RULE, _TABLE = frozenset("-*_= \t"), frozenset("|:- \t")
_SHORTEST_RULE = 3
_LINE_MARK = re.compile(
    r"[ \t]*(?:>[ \t]?)*(?:#{1,6}[ \t]+|[-*+\u2022][ \t]+(?:\[[ xX]\][ \t]+)?)?"
)
_NUMBERED = re.compile(r"[ \t]*\d{1,3}[.)][ \t]")
_CELL = re.compile(r"[ \t]*\|[ \t]*")
_PICTURES = (
    "\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u23e9-\u23fa\u231a\u231b\ufe0e\ufe0f\u20e3"
    "\U000e0020-\U000e007f"
)
_EMOJI = re.compile(f"[{_PICTURES}](?:\u200d?[{_PICTURES}])*")
_BLANKS = re.compile(r"[^\S\n]+")
_EMPTY = re.compile(r"\(\s?\)|\[\s?\]|\uff08\s?\uff09")
_BEFORE_STOP = re.compile(r" (?=[.,;:!?)\]]+(?:\s|$))")
_ITEM = re.compile(r"[ \t]*[-*+\u2022][ \t]")
_MINUS = re.compile(r"[ \t]*[-+][ \t]+\d")
_LONG_LINE = 60
"""Characters; a line that is as long was wrapped, and goes on in the next one."""


def plain(text: str, *, markup: bool = False) -> str:
    """What of a text is read aloud, a line for what is said in one go, blank lines between parts.

    Args:
        text: what was sent.
        markup: leave Markdown, addresses and emoji in; only what no voice can read goes.
    """
    text = readable(text.replace("\r\n", "\n"))
    if markup:
        return _paragraphs((_spaced(line), False) for line in text.split("\n"))
    text = without_emphasis(without_addresses(without_tags(held(text))))
    text = _EMOJI.sub("", text)
    return released(_paragraphs(_unmarked_lines(text.split("\n"))))


def is_speech(text: str) -> bool:
    """Whether there is anything in a text that can be said."""
    return any(char.isalnum() for char in text)


def _paragraphs(lines: Iterable[tuple[str, bool]]) -> str:
    """Lines put together where they were wrapped. Of each is told whether it begins anew."""
    found: list[list[str]] = []
    for said, is_own in lines:
        if not is_own and found and _goes_on(found[-1][-1], said):
            found[-1].append(said)
        else:
            found.append([said])
    return re.sub(r"\n{3,}", "\n\n", "\n".join(map(" ".join, found))).strip()


def _spaced(line: str) -> str:
    return _BEFORE_STOP.sub("", _BLANKS.sub(" ", line).strip())


def _unmarked_lines(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """Lines without their marks, and whether each begins anew."""
    for number, line in enumerate(lines):
        bare = line.strip()
        if bare.startswith(_FENCES) or _is_drawn(bare):
            yield "", False
        elif _MINUS.match(line) and not _is_item(lines, number):
            yield _spaced(_EMPTY.sub("", line)), True
        else:
            said, is_own = _unmarked(line)
            yield _spaced(_EMPTY.sub("", said)), is_own


def _is_drawn(line: str) -> bool:
    """Whether a line is a rule, or the one below a table's head."""
    chars = set(line)
    if chars <= _RULE and len(line.replace(" ", "").replace("\t", "")) >= _SHORTEST_RULE:
        return True
    return chars <= _TABLE and {"|", "-"} <= chars


def _is_item(lines: list[str], number: int) -> bool:
    """Whether a line beside this one is an item of a list as well."""
    beside = [*lines[max(0, number - 1) : number], *lines[number + 1 : number + 2]]
    return any(map(_ITEM.match, beside))


def _unmarked(line: str) -> tuple[str, bool]:
    """A line without its heading's or item's mark, and whether it had one; cells with commas."""
    mark = _LINE_MARK.match(line)
    bare = line[mark.end() :] if mark else line
    if bare.count("|") > 1:
        return _CELL.sub(", ", bare).strip(", "), True
    return bare, bare.strip() != line.strip() or _NUMBERED.match(line) is not None


def _goes_on(line: str, following: str) -> bool:
    """Whether a line was wrapped, and the following one goes on with its sentence."""
    if not line or not following:
        return False
    return following[0].islower() or (
        len(line) >= _LONG_LINE and (line[-1].isalnum() or line[-1] == ",")
    )

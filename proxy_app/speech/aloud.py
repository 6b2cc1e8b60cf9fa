"""What of a text is read aloud: words, and not the signs that only make it look well."""

from __future__ import annotations

import re
import unicodedata

_LINE = re.MULTILINE
_MARKUP = (
    # Fences of code, rules, the line below a table's head.
    (re.compile(r"^[ \t]*(?:```|~~~).*$", _LINE), ""),
    (re.compile(r"^[ \t]*(?:[-*_=][ \t]*){3,}$", _LINE), ""),
    (re.compile(r"^[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[-: \t|]*)$", _LINE), ""),
    # Links and pictures, of which the words stay; bare addresses, of which none do; HTML.
    (re.compile(r"!?\[([^\]\n]*)\](?:\((?:[^()\n]|\([^()\n]*\))*\)|\[[^\]\n]*\])"), r"\1"),
    (re.compile(r"<?(?:https?://|ftp://|www\.)[^\s<>]*[^\s<>.,;:!?'\")\]]>?", re.IGNORECASE), ""),
    (re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>"), " "),
    (re.compile(r"(`{1,2})([^`\n]+)\1"), r"\2"),
)
_EMPHASIS = re.compile(
    r"(?<![\w*~])(\*{1,3}|~~)(?=\S)([^\n]+?)(?<=\S)\1(?![\w*~])"
    r"|(?<!\w)(_{1,3})(?=\S)([^\n]+?)(?<=\S)\3(?!\w)"
)
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
_LONG_LINE = 60
"""Characters; a line that is as long was wrapped, and goes on in the next one."""


def plain(text: str, *, markup: bool = False) -> str:
    """What of a text is read aloud, a line for what is said in one go, blank lines between parts.

    Args:
        text: what was sent.
        markup: leave Markdown, addresses and emoji in; only what no voice can read goes.
    """
    text = "".join(char for char in text.replace("\r\n", "\n") if _is_text(char))
    if not markup:
        for pattern, what in _MARKUP:
            text = pattern.sub(what, text)
        while (bare := _EMPHASIS.sub(r"\2\4", text)) != text:
            text = bare
        text = _EMOJI.sub("", text)
    lines: list[str] = []
    for line in text.split("\n"):
        said, is_own = (line, False) if markup else _unmarked(line)
        said = re.sub(r" (?=[.,;:!?](?:\s|$))", "", _BLANKS.sub(" ", said).strip())
        if not is_own and lines and _goes_on(lines[-1], said):
            lines[-1] += " " + said
        else:
            lines.append(said)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def is_speech(text: str) -> bool:
    """Whether there is anything in a text that can be said."""
    return any(char.isalnum() for char in text)


def _is_text(char: str) -> bool:
    return char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs", "Co", "Cn")


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

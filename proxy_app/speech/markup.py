"""Markup and addresses taken out of a text, in time that grows with its length and no faster.

No pattern here looks for an end that may not be there from each of many beginnings: a text is
a stranger's, and may be made of beginnings.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import defaultdict

_UNREADABLE = frozenset(("Cc", "Cs", "Co", "Cn"))
_HELD = 0xE000
"""Where characters of Unicode's private use begin, which no text has that comes here."""
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_HELD_CHARS = re.compile("[\ue000-\ue07f]")
_PLACE = "\ue100"
"""Stands where an address was, until what was around it is gone, too."""

_BLOCKS = (
    "address|article|aside|blockquote|caption|center|dd|details|dialog|div|dl|dt|fieldset|"
    "figcaption|figure|footer|form|h[1-6]|header|legend|li|main|menu|nav|ol|optgroup|option|p|pre|"
    "section|select|summary|table|tbody|td|tfoot|th|thead|title|tr|ul"
)
_INLINE = (
    "a|abbr|acronym|audio|b|base|bdi|bdo|big|body|break|button|canvas|cite|code|col|colgroup|data|"
    "datalist|del|dfn|em|embed|emphasis|font|head|html|i|iframe|img|input|ins|kbd|label|link|map|"
    "mark|meta|meter|noscript|object|output|param|phoneme|picture|progress|prosody|q|rp|rt|ruby|s|"
    "samp|say-as|script|slot|small|source|span|speak|strike|strong|style|sub|sup|svg|template|"
    "textarea|time|track|tt|u|var|video|voice|wbr"
)
# HTML's elements, and SSML's. An attribute has a value, or is one of those that have none: "a<b
# and c>d" is no tag.
_TAG = re.compile(
    rf"</?(?:(?P<block>{_BLOCKS})|(?P<line>br|hr)|(?:{_INLINE}))"
    r"(?:\s+(?:[\w:.-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>=]+)"
    r"|(?:async|checked|controls|defer|disabled|hidden|loop|muted|open|required|selected)\b))*"
    r"\s*/?>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]{1,40}\]:?")
_DEFINITION = re.compile(r"^ {0,3}\[[^\[\]\n]{1,200}\]:[ \t]*\S[^\n]*$", re.MULTILINE)
_LINK = re.compile(
    r"!?\[([^\[\]\n]*)\](?:\((?:[^()\n]|\([^()\n]*\)){0,2000}\)|\[[^\[\]\n]{0,200}\])"
)
_NESTED = 2
"""A picture in a link."""

_WIDE = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
_WIDE_CHAR = re.compile(f"[{_WIDE}]")
_IN_ADDRESS = rf"(?:(?![{_WIDE}])[\w\ue000-\ue07f./?#@!$&'()*+,;=%:~\[\]-])"
_ENDINGS = (
    "com|org|edu|gov|biz|eu|uk|ca|au|nz|de|ch|fr|nl|pt|pl|cz|dk|fi|gr|tr|ru|jp|cn|kr|tw|br|mx|ar|"
    "cl|za|xyz"
)
"""Of bare names. Not it, no, in, net or io: "I said no.it/that" and "socket.io/redis" are words."""
# A bare name is in small letters, and has a known ending and a path: "example.com" can be said,
# "ASP.com/Core" is a name of something, and "and/or" is none.
_ADDRESS = re.compile(
    rf"(?:(?i:(?:https?|ftp)://|mailto:(?=[\w.+-]{{1,64}}@)|(?<![A-Za-z0-9.@])www\.(?=\w))"
    rf"|(?<![\w.@/-])(?:[a-z0-9-]{{1,63}}\.){{1,5}}(?:{_ENDINGS})(?::\d{{1,5}})?/(?=\w)){_IN_ADDRESS}+"
)
_IN_ANGLES = re.compile(r"<([^<>\s]*)>")
_AFTER = ".,;:!?'\"*_~"
_PAIRS = re.compile(
    rf"\([ \t]*{_PLACE}[ \t]*\)|\[[ \t]*{_PLACE}[ \t]*\]|<[ \t]*{_PLACE}[ \t]*>"
    rf"|\{{[ \t]*{_PLACE}[ \t]*\}}|\"{_PLACE}\"|'{_PLACE}'|`{_PLACE}`|\u201c{_PLACE}\u201d"
    rf"|\u201e{_PLACE}\u201c|\u00ab[ \xa0]?{_PLACE}[ \xa0]?\u00bb|\*{_PLACE}\*|_{_PLACE}_"
)
_AROUND = 4
"""So many pairs may be around an address."""

_CODE = re.compile(r"(`{1,2})([^`\n]+)\1")
_MARKS = re.compile(r"\*{1,3}|_{1,3}|~~")


def readable(text: str) -> str:
    """A text without what no voice can read: characters of control, of nobody, of private use."""
    return "".join(
        char for char in text if char in "\n\t" or unicodedata.category(char) not in _UNREADABLE
    )


def held(text: str) -> str:
    """What a backslash keeps from being markup, made something that cannot be."""
    return _ESCAPED.sub(lambda match: chr(_HELD + ord(match[1])), text)


def released(text: str) -> str:
    """The opposite of `held`, without the backslashes."""
    return _HELD_CHARS.sub(lambda match: chr(ord(match[0]) - _HELD), text)


def without_tags(text: str) -> str:
    """HTML's and SSML's tags and comments gone, its entities as the characters that they mean."""
    text = _TAG.sub(_of_tag, _without_comments(text))
    return _ENTITY.sub(_of_entity, text)


def without_addresses(text: str) -> str:
    """Links and pictures as their words; addresses gone, and the brackets that they were in.

    Where nothing else is said the addresses stay: who sends nothing but one wants to hear it.
    """
    text = _DEFINITION.sub("", _FOOTNOTE.sub("", text))
    for _ in range(_NESTED):
        text = _LINK.sub(r"\1", text)
    said = _ADDRESS.sub(_of_address, text)
    for _ in range(_AROUND):
        said = _PAIRS.sub(_PLACE, said)
    said = said.replace(_PLACE, "")
    return said if any(map(str.isalnum, said)) else _IN_ANGLES.sub(r"\1", text)


def without_emphasis(text: str) -> str:
    """Words without the marks around them that make them bold, italic, struck out or code."""
    text = _CODE.sub(r"\2", text)
    return "\n".join(map(_bare, text.split("\n")))


def _without_comments(text: str) -> str:
    kept: list[str] = []
    start = 0
    while (begin := text.find("<!--", start)) >= 0 and (end := text.find("-->", begin + 4)) >= 0:
        kept += text[start:begin], " "
        start = end + 3
    return "".join([*kept, text[start:]])


def _of_tag(tag: re.Match[str]) -> str:
    if tag["block"]:
        return "\n"
    return " " if tag["line"] else ""


def _of_entity(entity: re.Match[str]) -> str:
    """What it means, if that is anything that can be read."""
    return readable(html.unescape(entity[0]))


def _of_address(match: re.Match[str]) -> str:
    """A place for the address, and what is behind it: the end of its sentence, or of a bracket."""
    found = match[0]
    end = len(found)
    open_ = {")": found.count("("), "]": found.count("[")}
    closed = {")": found.count(")"), "]": found.count("]")}
    while end and (found[end - 1] in _AFTER or found[end - 1] in open_):
        last = found[end - 1]
        if last in open_:
            if closed[last] <= open_[last]:
                break
            closed[last] -= 1
        end -= 1
    return _PLACE + found[end:]


def _bare(line: str) -> str:
    """A line without its emphasis: each mark that can end goes with the last that can begin."""
    begun: dict[str, list[list[int]]] = defaultdict(list)
    gone: list[tuple[int, int]] = []
    for mark in _MARKS.finditer(line):
        kind, left = mark[0][0], len(mark[0])
        before, after = (
            line[max(0, mark.start() - 1) : mark.start()],
            line[mark.end() : mark.end() + 1],
        )
        if begun[kind] and _is_edge(after) and before.strip():
            while left and begun[kind]:
                opener = begun[kind][-1]
                count = min(left, opener[1])
                opener[1] -= count
                gone += (opener[0] + opener[1], count), (mark.end() - left, count)
                left -= count
                if not opener[1]:
                    begun[kind].pop()
        elif _is_edge(before) and after.strip():
            begun[kind].append([mark.start(), left])
    kept, start = [], 0
    for begin, count in sorted(gone):
        kept.append(line[start:begin])
        start = begin + count
    return "".join([*kept, line[start:]])


def _is_edge(char: str) -> bool:
    """Whether a mark beside this character is not inside of a word."""
    return not char or not (char.isalnum() or char in "_*~") or bool(_WIDE_CHAR.match(char))

# ruff: noqa: RUF001 - typographic characters are what this file is about
"""Tokens to text: one space between words, and none where script or punctuation wants none.

Recognisers mark words in two ways. Whisper writes the space that goes before a word into the token
(" Hello", ",", " every", "body"); NeMo, WhisperX's alignment and Kaldi write bare words ("Hello,",
"everybody"). A list counts as marked when more than half of the places that want a space by their
letters have one. Only then does a missing space mean "the same word goes on", and not even then
before a capital or after the end of a clause: Whisper's segments often start bare. The first
token's own space tells nothing.

A point, colon or comma that is a token of its own between two of digits belongs to a number (3 . 5,
10 : 30, 1 , 000). But a comma beside more than three digits does not (July 4 , 2019), nor does
anything where the digits behind it are marked and it is not (" 3" "," " 5").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from proxy_app.speech.model import Token
from proxy_app.speech.scripts import (
    is_chinese_japanese,
    is_mark,
    is_south_east_asian,
    is_wordlike,
)

_CLOSING_QUOTES = frozenset("”»›)]}")
CLOSING = frozenset(".,;:!?%‰°…、。，！？：；）」』】》،؛؟।॥។፣።։") | _CLOSING_QUOTES
OPENING = frozenset("([{¿¡“‘„‚«‹「『（【《")
_SIGILS = frozenset("$£€¥₹₩₽₿#")
_APOSTROPHES = frozenset("'’")
_CONNECTORS = _APOSTROPHES | frozenset("-‐‑/&@_+")
_POINTS = frozenset(".,:")

# Endings that the Penn Treebank and some recognisers split off: I 'm, do n't, Bob 's.
_SUFFIX = re.compile(r"(?:['’](?:s|m|re|ve|ll|d|t)|n['’]t)\b", re.IGNORECASE)
_CONTRACTED = re.compile(r"['’](?:s|m|re|ve|ll|d|t)$", re.IGNORECASE)
_SUFFIX_LETTERS = re.compile(r"(?:s|m|re|ve|ll|d|t)\b", re.IGNORECASE)
# French and Italian words that lose their vowel before the next one (l' homme, qu' il, dell' anno)
# and English ones that are written like them; here and below \n is where two tokens meet.
_SEAM = r"(?:['’]\n|\n['’])"
_ELIDED = re.compile(
    rf"(?:[cdjlmnst]|\w*qu|(?:a|da|de|ne|su)ll|un){_SEAM}[^\W\d_]"
    rf"|o{_SEAM}clock\b|y{_SEAM}all\b|(?-i:O{_SEAM}[A-Z])",
    re.IGNORECASE,
)
_SPOKEN_DOT = re.compile(r"\.+[^\W_]")  # .com, .5, ...and
_INITIALS = re.compile(r"(?:^|\.)[A-Z]\n\.[A-Z](?!\w)")  # U .S, but not C .NET
_NUMBER = re.compile(r"[0-9][.:]\n[0-9]|(?<![0-9])[0-9]{1,3},\n[0-9]{1,3}(?!\w)")
_TIED = re.compile(r"[-‐‑&][^\W\d_]")  # -quality and &T, but not -5


def join(tokens: Iterable[str | Token]) -> str:
    """The text of tokens in their order; tokens with and without leading spaces give the same."""
    return "".join(pieces([t.text if isinstance(t, Token) else t for t in tokens]))


def pieces(texts: Sequence[str]) -> list[str]:
    """Each token without its own white space, behind the space that goes before it, if one does.

    The list is as long as `texts`; a token of white space alone gives "". Concatenated, the pieces
    are the text.
    """
    result = [" ".join(text.split()) for text in texts]
    indexes = [index for index, word in enumerate(result) if word]
    shapes = _with_curled_quotes([result[index] for index in indexes])
    marked = {n for n in range(1, len(shapes)) if _is_marked(texts, indexes[n - 1], indexes[n])}
    wanting = [
        n
        for n in range(1, len(shapes))
        if _wants_space(shapes[n - 1], shapes[n])
        and not (
            n > 1
            and _is_split_at(shapes[n - 1], shapes[n - 2], shapes[n])
            and (n not in marked or n - 1 in marked)
        )
    ]
    telling = [n for n in wanting if _is_between_words(shapes[n - 1], shapes[n])]
    is_marked_list = 2 * len(marked.intersection(telling)) > len(telling)
    for n in wanting:
        if n in marked or not (is_marked_list and _goes_on(shapes[n - 1], shapes[n])):
            result[indexes[n]] = " " + result[indexes[n]]
    return result


def _is_marked(texts: Sequence[str], left: int, right: int) -> bool:
    """Whether the tokens themselves have white space between two words."""
    return right - left > 1 or texts[left][-1].isspace() or texts[right][0].isspace()


def _is_split_at(mark: str, left: str, right: str) -> bool:
    """Whether the tokens around a mark are one word with it: 1 , 000 and O ' Brien."""
    if mark in _APOSTROPHES:
        return is_wordlike(left[-1]) and _contracts(left + mark, right)
    return mark in _POINTS and _NUMBER.search(f"{left}{mark}\n{right}") is not None


def _is_between_words(left: str, right: str) -> bool:
    return is_wordlike(right[0]) and any(map(is_wordlike, left))


def _with_curled_quotes(words: Sequence[str]) -> list[str]:
    """The words with " as “ or ”: by its place in a word, and alone by whether one is open."""
    shapes = []
    is_open = False
    for word in words:
        shape = word
        for at in (index for index, char in enumerate(word) if char == '"'):
            before, behind = word[:at], word[at + 1 :]
            is_first = not before.strip("([¿¡") and any(map(str.isalnum, behind))
            is_open = is_first if before + behind else not is_open
            shape = shape[:at] + ("“" if is_open else "”") + behind
        shapes.append(shape)
    return shapes


def _wants_space(left: str, right: str) -> bool:
    """Whether a space goes between two words by their letters alone."""
    last, first = left[-1], right[0]
    if right.isascii() and right.isalpha() and last.isascii() and last.isalpha():
        return True  # most words: nothing below is about them
    if _closes(right) or _opens(left):
        return _SPOKEN_DOT.match(right) is not None and not _continues_with_dot(left, right)
    return not (
        is_mark(first)
        or is_chinese_japanese(first)
        or is_chinese_japanese(last)
        or (is_south_east_asian(first) and is_south_east_asian(last))
        or (last in _SIGILS and first.isdigit())
        or _contracts(left, right)
        or (_TIED.match(right) is not None and is_wordlike(last))
    )


def _closes(word: str) -> bool:
    """Whether a word clings to the one before it: a comma, but not the » of »Hallo«."""
    return word[0] in CLOSING and not (word[0] in _CLOSING_QUOTES and word[1:2].isalnum())


def _opens(word: str) -> bool:
    """Whether the next word clings to this one: a bracket, but not the “ of „Hallo“."""
    return word[-1] in OPENING and not word[-2:-1].isalnum()


def _continues_with_dot(left: str, right: str) -> bool:
    """3 .14, example .com and U .S, but not "to .NET" and "so ...and"."""
    return (
        right[1].islower()
        or (right[1].isdigit() and left[-1].isdigit())
        or _INITIALS.search(f"{left}\n{right}") is not None
    )


def _contracts(left: str, right: str) -> bool:
    """Whether two words are halves of one by an apostrophe: I 'm, do n't, l' homme, O 'Brien."""
    if left in _APOSTROPHES:
        return _SUFFIX_LETTERS.match(right) is not None
    if is_wordlike(left[-1]) and (right in _APOSTROPHES or _SUFFIX.match(right)):
        return True
    return _ELIDED.match("\n".join((left.lstrip("“(«"), right))) is not None


def _goes_on(left: str, right: str) -> bool:
    """Whether, in a marked list, a bare token may be the rest of the word before it."""
    last, first = left[-1], right[0]
    if (first.isupper() and left not in _CONNECTORS) or _CONTRACTED.search(left):
        return False
    if last in _POINTS:
        return first.isdigit()
    if is_wordlike(last):
        return is_wordlike(first) or first in _CONNECTORS or first == "."
    return last in _CONNECTORS and is_wordlike(first)

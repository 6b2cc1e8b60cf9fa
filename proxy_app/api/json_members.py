"""Where the values of a JSON object lie in a file, which is read a piece at a time.

Readers of JSON hold a text, or a list, as a whole in memory, and nothing else is done meanwhile.
Here nothing is made of what is read: it takes the memory of a piece, however long the file is, and
after each piece others have their turn. What some readers take and others do not (NaN, lone
surrogates, control characters in texts, bytes that are no UTF-8) is for the server to judge.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Protocol

import gevent

from proxy_app.turns import let_others

_PIECE = 64 * 1024
_LONGEST_TOKEN = 4096
"""Bytes, of a number, and of a name that can be wanted; other texts may be of any length."""
_LONGEST_ESCAPE = 6
_DEEPEST = 500
_SIMPLE_DEPTH = 6
"""What is nested no deeper, as tools' schemas are not, is read in a fiftieth of the time."""
_MOST_STEPS = 100_000
"""Of the slow ones, of which each piece has a few."""
_STEPS = 1000
"""So many take about as long as a piece."""
_OBJECT, _ARRAY = b"{["

# Nothing is ever given back (`*+`): what cannot be read takes no longer than what can.
_B = rb"[ \t\r\n]*+"
_C = rb'[^"\\]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\]*+)*+'
_NUMBER = rb"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?+[0-9]++)?+"
_S = rb"%b|true|false|null|NaN|-?Infinity" % _NUMBER
_SIMPLE = _PLAIN = rb'"%b"|%b' % (_C, _S)
for _ in range(_SIMPLE_DEPTH):
    # What follows an item is the end, or a comma and no end.
    _LIST = rb"\[%b(?:(?:%b)%b(?:,%b(?!\])|(?=\])))*+\]" % (_B, _SIMPLE, _B, _B)
    _MEMBER = rb'"%b"%b:%b(?:%b)%b' % (_C, _B, _B, _SIMPLE, _B)
    _SIMPLE = rb"%b|%b|\{%b(?:%b(?:,%b(?!\})|(?=\})))*+\}" % (_PLAIN, _LIST, _B, _MEMBER, _B)
_BLANKS, _CHARACTERS, _SCALAR = re.compile(_B), re.compile(_C), re.compile(_S)
_QUOTE, _COLON, _COMMA = re.compile(rb'"'), re.compile(rb":"), re.compile(rb",")
_OPENS = re.compile(rb"[{\[]")
_CLOSES = {_OBJECT: re.compile(rb"\}"), _ARRAY: re.compile(rb"\]")}


class Wanted:
    """The names of members that are looked for; made once, as their first use takes a while."""

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)

    @cached_property
    def simple(self) -> dict[int, re.Pattern[bytes]]:
        """What can be passed over at once in an object, and in an array: all but the last.

        It takes a fifth of a second to make one of them: not when a process starts, which may never
        need it, and beside what else the process does.
        """
        thread = gevent.get_hub().threadpool
        return {_OBJECT: thread.apply(_unwanted, (self.names,)), _ARRAY: thread.apply(_items)}


@cache
def _items() -> re.Pattern[bytes]:
    return re.compile(rb"(?:%b(?:%b)%b,)++" % (_B, _SIMPLE, _B))


def _unwanted(names: frozenset[str]) -> re.Pattern[bytes]:
    others = rb'"(?!(?:%b)")[^"\\]*+"' % b"|".join(re.escape(it.encode()) for it in names)
    return re.compile(rb"(?:%b%b%b:%b(?:%b)%b,)++" % (_B, others, _B, _B, _SIMPLE, _B))


class NoObjectError(ValueError):
    """It is no JSON object, or nobody means one that is nested so, or has such a number."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value begins, and where what follows it does: bytes of the file."""

    start: int
    end: int

    def of(self, text: memoryview) -> memoryview:
        """What is there, of the file's content."""
        return text[self.start : self.end]


class File(Protocol):
    """What can be read from a place on: a file, or one that is mapped."""

    def seek(self, to: int, /) -> object:
        """Go to a byte."""

    def read(self, most: int, /) -> bytes:
        """So many bytes from there, fewer at the end."""


def members(file: File, wanted: Wanted, within: Span | None = None) -> dict[str, Span]:
    """Where the values of these names are in the object that a file is; of a name's, the last.

    Args:
        file: what to read.
        wanted: the names.
        within: where the object is in the file, if that has more in it.

    Raises:
        NoObjectError: it is none.
    """
    return _Scan(_Text(file, within), wanted).run()


class _Text:
    """A file's text from a place on; what is before that place is forgotten."""

    def __init__(self, file: File, within: Span | None) -> None:
        self._file = file
        self._text = b""
        self._at = 0
        self._forgotten = within.start if within else 0
        self._left = within.end - within.start if within else sys.maxsize
        self._is_all = False
        if within:
            file.seek(within.start)
        self._read_on()
        if within is None and self._text.startswith(codecs.BOM_UTF8):
            self._at = len(codecs.BOM_UTF8)

    @property
    def offset(self) -> int:
        """Of the place, in the file."""
        return self._forgotten + self._at

    @property
    def is_over(self) -> bool:
        """Whether nothing follows."""
        return self._is_all and self._at == len(self._text)

    def next(self) -> None:
        """Go to the next token, and have all of it here, unless it is a long text."""
        self.skip(_BLANKS)
        while len(self._text) - self._at < _LONGEST_TOKEN and not self._is_all:
            self._read_on()
            self.skip(_BLANKS)

    def sees(self, what: re.Pattern[bytes]) -> bool:
        """Whether something is here."""
        return what.match(self._text, self._at) is not None

    def skip(self, what: re.Pattern[bytes]) -> bytes:
        """Pass over something and give it; b"" if it is not here."""
        found = what.match(self._text, self._at)
        if found is None:
            return b""
        self._at = found.end()
        return found[0]

    def take(self, what: re.Pattern[bytes]) -> None:
        """Pass over what has to be here.

        Raises:
            NoObjectError: it is not.
        """
        if not self.skip(what):
            raise NoObjectError

    def scalar(self) -> None:
        """Pass over a number or a word; errors as `take`."""
        self.take(_SCALAR)
        if self._at == len(self._text) and not self._is_all:
            raise NoObjectError  # a number without end

    def string(self) -> bytes:
        """Pass over a text and give it, quotes and all, or b"" for a long one; errors as `take`."""
        start = self.offset
        self.take(_QUOTE)
        while True:
            self.skip(_CHARACTERS)
            if self.skip(_QUOTE):
                begun = start - self._forgotten
                return self._text[begun : self._at] if begun >= 0 else b""
            if self._is_all or len(self._text) - self._at >= _LONGEST_ESCAPE:
                raise NoObjectError  # it breaks off, or there is something odd behind a backslash
            self._read_on()

    def _read_on(self) -> None:
        piece = self._file.read(min(_PIECE, self._left))
        self._left -= len(piece)
        self._is_all = not piece
        self._text = self._text[self._at :] + piece
        self._forgotten += self._at
        self._at = 0
        if len(piece) == _PIECE:
            let_others()


class _Scan:
    """One way through a text."""

    def __init__(self, text: _Text, wanted: Wanted) -> None:
        self._text = text
        self._wanted = wanted
        self._simple = wanted.simple
        self._open = bytearray()
        """The brackets that have no end yet, from the outermost in."""
        self._is_new = False
        """The innermost has nothing in it, so that it may end here."""
        self._begun: tuple[str, int] | None = None
        """The wanted member whose value comes, and where."""
        self._found: dict[str, Span] = {}

    def run(self) -> dict[str, Span]:
        """Where the wanted members are; errors as `members`."""
        self._text.next()
        if not self._opens() or self._open[0] != _OBJECT:
            raise NoObjectError
        steps = 0
        while self._open:
            steps += 1
            if steps % _STEPS == 0:
                let_others()
            if steps > _MOST_STEPS:
                raise NoObjectError
            self._text.next()
            if self._text.skip(self._simple[self._open[-1]]):
                self._is_new = False
                self._text.next()
            if not (self._is_new and self._text.sees(_CLOSES[self._open[-1]])):
                self._name()
                if self._opens():
                    continue
                self._value()
            self._end()
        if not self._text.is_over:
            raise NoObjectError
        return self._found

    def _opens(self) -> bool:
        """Whether something begins here that has values in it."""
        bracket = self._text.skip(_OPENS)
        if not bracket:
            return False
        if len(self._open) == _DEEPEST:
            raise NoObjectError
        self._open += bracket
        self._is_new = True
        return True

    def _name(self) -> None:
        """Pass over a member's name, where there has to be one."""
        if self._open[-1] != _OBJECT:
            return
        name = self._text.string()
        self._text.next()
        self._text.take(_COLON)
        self._text.next()
        if len(self._open) == 1 and name:
            read = name[1:-1].decode(errors="replace")
            if "\\" in read:
                read = json.loads(f'"{read}"', strict=False)
            self._begun = (read, self._text.offset) if read in self._wanted.names else None

    def _value(self) -> None:
        if self._text.sees(_QUOTE):
            self._text.string()
        else:
            self._text.scalar()

    def _end(self) -> None:
        """A value is over, and with it what ends now; then another one has to follow."""
        while True:
            if len(self._open) == 1 and self._begun is not None:
                name, start = self._begun
                self._found[name] = Span(start, self._text.offset)
                self._begun = None
            self._text.next()
            if not self._text.skip(_CLOSES[self._open[-1]]):
                self._text.take(_COMMA)
                self._is_new = False
                return
            self._open.pop()
            if not self._open:
                self._text.next()
                return

"""multipart/form-data, read as it comes: the texts kept, the files written where they belong.

werkzeug's own parser takes three times as long for a recording, which is as much as all else that
the gateway does with it. RFC 7578 is what is read here, and of RFC 2046 what it needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import IO

from werkzeug.datastructures import FileStorage, Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header

_PIECE = 256 * 1024
_LONGEST_HEAD = 16 * 1024
"""Bytes of the headers of a part."""
_LONGEST_PADDING = 64
"""Blanks that may come behind a boundary. Nobody sends any."""
_LONGEST_BOUNDARY = 200
_FOLD = re.compile(rb"\r\n[ \t]+")
_CHARSETS = frozenset({"ascii", "us-ascii", "utf-8", "iso-8859-1"})


class Form:
    """A form that is to be read.

    Args:
        read: gives up to so many bytes of the body, and none at its end.
        boundary: as the request's Content-Type names it.
        new_file: opens what the content of a file is written to.
        text_bytes: how much all texts together may have.
        parts: how many parts there may be.

    Attributes:
        texts: the text fields, by name, in order.
        files: the files, at their beginnings.

    Raises:
        ValueError: the boundary is none.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        boundary: bytes,
        new_file: Callable[[], IO[bytes]],
        *,
        text_bytes: int,
        parts: int,
    ) -> None:
        if not 0 < len(boundary) <= _LONGEST_BOUNDARY:
            raise ValueError("a boundary has 1 to 200 characters")
        self._read = read
        self._new_file = new_file
        self._text_bytes = text_bytes
        self._parts = parts
        self._delimiter = b"\r\n--" + boundary
        # What else begins like a delimiter is content.
        end = rb"(--|[ \t]{0,%d}\r\n)" % _LONGEST_PADDING
        self._whole = re.compile(re.escape(self._delimiter) + end)
        self._held_back = len(self._delimiter) + _LONGEST_PADDING + 2
        """Bytes at the end of what has come that may belong to a delimiter."""
        # The first delimiter needs no line break before it.
        self._buffer = b"\r\n"
        self._is_over = False
        self.texts: list[tuple[str, str]] = []
        self.files: list[tuple[str, FileStorage]] = []

    def parse(self) -> None:
        """Read the body to its end.

        Raises:
            ValueError: it is no form, or breaks off.
            RequestEntityTooLarge: it is over a limit.
        """
        for _preamble in self._content():
            pass
        while not self._is_over:
            self._parts -= 1
            if self._parts < 0:
                raise RequestEntityTooLarge
            headers = self._headers()
            about = parse_options_header(headers.get("content-disposition"))[1]
            name, filename = about.get("name", ""), about.get("filename")
            if filename is None:
                self.texts.append((name, self._text(headers)))
            else:
                self.files.append((name, self._file(name, filename, headers)))
        while self._read(_PIECE):
            pass

    def _headers(self) -> Headers:
        while (end := self._buffer.find(b"\r\n\r\n", 0, _LONGEST_HEAD)) < 0:
            if len(self._buffer) >= _LONGEST_HEAD:
                raise RequestEntityTooLarge
            self._more()
        lines = _FOLD.sub(b" ", self._buffer[:end]).decode().split("\r\n")
        # The second line break stays: where a part has nothing in it, it is the delimiter's.
        self._buffer = self._buffer[end + 2 :]
        named = (line.partition(":") for line in lines)
        headers = Headers([(name.strip(), value.strip()) for name, _, value in named])
        if "content-disposition" not in headers:
            raise ValueError("a part has no Content-Disposition")
        return headers

    def _text(self, headers: Headers) -> str:
        text = bytearray()
        for piece in self._content():
            self._text_bytes -= len(piece)
            if self._text_bytes < 0:
                raise RequestEntityTooLarge
            text += piece
        charset = parse_options_header(headers.get("content-type"))[1].get("charset", "").lower()
        return text.decode(charset if charset in _CHARSETS else "utf-8", "replace")

    def _file(self, name: str, filename: str, headers: Headers) -> FileStorage:
        file = self._new_file()
        for piece in self._content():
            file.write(piece)
        file.seek(0)
        return FileStorage(file, filename, name, headers=headers)

    def _content(self) -> Iterator[memoryview]:
        """What comes before the next delimiter, without the line break that it begins with."""
        first = 2
        while True:
            buffer = self._buffer
            # Looked for as bytes first: to look by a pattern takes ten times as long.
            at = buffer.find(self._delimiter)
            found = self._whole.search(buffer, at) if at >= 0 else None
            ready = found.start() if found else len(buffer) - self._held_back
            if ready > first:
                yield memoryview(buffer)[first:ready]
                first = 0
            if found:
                self._buffer = buffer[found.end() :]
                self._is_over = found[1] == b"--"
                return
            if first == 0:
                self._buffer = buffer[max(0, ready) :]
            self._more()

    def _more(self) -> None:
        data = self._read(_PIECE)
        if not data:
            raise ValueError("the body breaks off")
        self._buffer += data

"""Multipart forms read as they arrive: files and long texts go to disk, short texts to memory.

python-multipart takes them apart, which costs a fifth of what werkzeug's own parser does.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from proxy_app.errors import BadRequestError, TooLargeError
from proxy_app.turns import let_others

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_READ_BYTES = 64 * 1024
_INDEXED = re.compile(r"\[\d{1,4}\]\Z")
"""`name[0]`, as some send an array's elements, which come in their order: `name[]`."""
_PREAMBLE_BYTES = 64 * 1024
"""What may come before the first boundary, and is passed over."""
_BLANKS = 80
"""So many may follow the first boundary on its line."""
_YIELD_BYTES = 1024 * 1024
_HALF = re.compile(rb"([\x80-\xff])\\")
_CHARSETS = frozenset({"ascii", "us-ascii", "utf-8", "iso-8859-1"})


@dataclass(frozen=True, slots=True)
class Spooled:
    """A field whose files go to disk, and texts as well where those have megabytes.

    Such a text is among the request's files, without a file name.
    """

    most: int
    """So many at most, ..."""
    limit: int | None = None
    """... each of so many bytes, as it arrives."""
    are_texts: bool = False
    """Whether they may come as texts."""


@dataclass(slots=True)
class Form:
    """The parts of a form, as far as they have come.

    Args:
        new_file: opens what a part that goes to disk is written to; closed when the part ends.
        text_bytes: how much all texts in memory may have together.
        most_parts: how many parts there may be.
        spooled: fields that go to disk, by their names without brackets, which those with brackets
            lose. Files of other names are passed over: a sender could have a hundred of them open,
            and fall silent.

    Attributes:
        texts: the text fields, by name, in order.
        files: the files, closed; of those that were passed over the names alone, and no content.
    """

    new_file: Callable[[], IO[bytes]]
    text_bytes: int
    most_parts: int
    spooled: Mapping[str, Spooled] = field(default_factory=dict)
    texts: MultiDict[str, str] = field(default_factory=MultiDict)
    files: MultiDict[str, FileStorage] = field(default_factory=MultiDict)
    _headers: Headers = field(default_factory=Headers)
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    _name: str = ""
    _filename: str | None = None
    _text: bytearray = field(default_factory=bytearray)
    _file: IO[bytes] | None = None
    """What the part at hand is written to, where it is a file; one that is passed over is not."""
    _room: int | None = None
    """How many bytes more the file at hand may have."""
    _is_over: bool = False
    _begun: int = 0
    """So many parts."""
    _passed_over: int = 0
    """Bytes, since others had their turn."""

    def read(self, read: Callable[[int], bytes], boundary: bytes) -> None:
        """Read a body to its end.

        Args:
            read: gives up to so many bytes of it, and none at its end.
            boundary: as the request's Content-Type names it.

        Raises:
            ValueError: it is no form, or breaks off.
            ApiError, RequestEntityTooLarge: there is too much of something.
        """
        if not boundary:
            raise ValueError("there is no boundary")
        try:
            parser = MultipartParser(boundary, self._callbacks())
            parser.write(_without_preamble(read, boundary))
            while data := read(_READ_BYTES):
                if self._is_over:  # what comes behind is read, for the next request's sake
                    self._pass_over(len(data))
                else:
                    parser.write(data)
        except FormParserError as error:
            raise ValueError(self._with_place(error)) from None
        if not self._is_over:
            raise ValueError("the body breaks off")

    def _with_place(self, error: FormParserError) -> str:
        if not self._begun:
            return str(error)
        return (
            f"the headers of part {self._begun} cannot be read, each of which is a line of its own "
            f"that ends in CR LF ({error})"
        )

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._add,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._begun += 1
        self.most_parts -= 1
        if self.most_parts < 0:
            raise RequestEntityTooLarge
        self._headers = Headers()

    def _end_header(self) -> None:
        name, value = map(_as_text, self._header)
        self._headers.add(name, value)
        for part in self._header:
            part.clear()

    def _open(self) -> None:
        disposition, about = parse_options_header(self._headers.get("content-disposition"))
        if disposition != "form-data":
            raise ValueError(f"part {self._begun} has no Content-Disposition: form-data")
        self._name = self._known(_INDEXED.sub("[]", about.get("name", "")))
        self._filename = about.get("filename")
        self._file = self._room = None
        bounds = self.spooled.get(self._name)
        if bounds is not None and (bounds.are_texts or self._filename is not None):
            self._check_number(bounds.most)
            self._room = bounds.limit
            self._file = self.new_file()

    def _known(self, sent: str) -> str:
        """The one name of a field that goes to disk: some send any file as an array's element."""
        name = sent.removesuffix("[]")
        return name if name in self.spooled else sent

    def _check_number(self, most: int) -> None:
        name = self._name
        if len(self.files.getlist(name)) < most:
            return
        if most == 1:
            raise BadRequestError(f"Send one `{name}` per request.", param=name)
        raise BadRequestError(f"{name}: at most {most} are accepted.", param=name)

    def _add(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._take_room(end - start)
            self._file.write(memoryview(data)[start:end])
        elif self._filename is not None:
            self._pass_over(end - start)
        else:
            self.text_bytes -= end - start
            if self.text_bytes < 0:
                if self._name in self.spooled:
                    raise sent_as_text(self._name)
                raise RequestEntityTooLarge
            self._text += data[start:end]

    def _take_room(self, count: int) -> None:
        if self._room is None:
            return
        self._room -= count
        if self._room < 0:
            limit = self.spooled[self._name].limit
            raise TooLargeError(f"{self._name}: one has more than {limit} bytes.", param=self._name)

    def _pass_over(self, count: int) -> None:
        self._passed_over += count
        if self._passed_over >= _YIELD_BYTES:
            self._passed_over = 0
            let_others()  # a fast sender would otherwise have the worker to itself

    def _end(self) -> None:
        if self._file is None and self._filename is None:
            kind = parse_options_header(self._headers.get("content-type"))[1]
            charset = kind.get("charset", "").lower()
            text = self._text.decode(charset if charset in _CHARSETS else "utf-8", "replace")
            self.texts.add(self._name, text)
            self._text.clear()
            return
        if self._file is not None:
            self._file.close()
        # Without any name it would be called as the file on the disk is.
        stream, name = self._file or io.BytesIO(), self._filename or ""
        self.files.add(self._name, FileStorage(stream, name, self._name, headers=self._headers))

    def _finish(self) -> None:
        self._is_over = True


def sent_as_text(name: str) -> BadRequestError:
    """The error of a recording that has no file name, and so is a text of the form."""
    return BadRequestError(
        f"`{name}` was sent as text: it needs a file name. Send multipart/form-data with the "
        f"recording as a file in the field `{name}`.",
        param=name,
        code="missing_file",
    )


def _without_preamble(read: Callable[[int], bytes], boundary: bytes) -> bytes:
    """The body from its first boundary on, as far as it was read for that.

    python-multipart takes nothing before it, and no blanks behind it.

    Raises:
        ValueError: there is none within _PREAMBLE_BYTES.
    """
    line = re.compile(rb"(?:\A|\r\n)(--%s)[ \t]{0,%d}(--|\r\n)" % (re.escape(boundary), _BLANKS))
    longest = len(boundary) + _BLANKS + len("\r\n--\r\n")
    head = bytearray()
    while len(head) < _PREAMBLE_BYTES and (data := read(_READ_BYTES)):
        looked_at = max(0, len(head) - longest)
        head += data
        if found := line.search(head, looked_at):
            return found[1] + found[2] + head[found.end() :]
    raise ValueError(
        f"the boundary that Content-Type names is no line of its first {_PREAMBLE_BYTES} bytes, "
        "where lines end in CR LF"
    )


def _as_text(header: bytearray) -> str:
    """As UTF-8, else as latin-1: of a file's name in something older nothing is needed."""
    try:
        return header.decode().strip()
    except UnicodeDecodeError:
        # Half a character of Shift-JIS may look like a backslash, which would hide a quote.
        return _HALF.sub(rb"\1", header).decode("latin-1").strip()


class FormParser(FormDataParser):
    """As werkzeug's, which is asked for forms of other kinds."""

    text_bytes = 0
    most_parts = 0
    spooled: Mapping[str, Spooled] = {}

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        """The texts and the files of a body.

        Raises:
            ValueError: it is broken.
            ApiError, RequestEntityTooLarge: there is too much of something.
        """
        if mimetype != "multipart/form-data":
            return super().parse(stream, mimetype, content_length, options)
        form = Form(self._new_file, self.text_bytes, self.most_parts, self.spooled)
        boundary = (options or {}).get("boundary", "")
        if not boundary.isascii():
            raise ValueError("the boundary that Content-Type names has other letters than ASCII's")
        form.read(stream.read, boundary.encode("ascii"))
        return stream, self.cls(form.texts), self.cls(form.files)

    def _new_file(self) -> IO[bytes]:
        return self.stream_factory(None, None, None)

"""Multipart forms read as they arrive: files and long texts go to disk, short texts to memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Protocol

from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from proxy_app.errors import BadRequestError, TooLargeError

_READ_BYTES = 64 * 1024


class OpensFiles(Protocol):
    """What opens a file for a part that is not to be held in memory."""

    def __call__(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        """A new file; the arguments are werkzeug's."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A field that goes to disk also where it comes as a text, which has megabytes.

    Such a text is among the request's files, without a file name.
    """

    most: int
    """So many at most, ..."""
    limit: int
    """... each of so many bytes, as it arrives."""


@dataclass(slots=True)
class _Parts:
    """The parts of one form, as far as they have come.

    Args:
        open_file: for parts that go to disk.
        spooled: fields that do so whatever they are, by their names without brackets.
        limit: of all texts in memory together, in bytes.
    """

    open_file: OpensFiles
    spooled: Mapping[str, Spooled]
    limit: int | None
    texts: MultiDict[str, str] = field(default_factory=MultiDict)
    files: MultiDict[str, FileStorage] = field(default_factory=MultiDict)
    _part: Field | File | None = None
    _text: bytearray = field(default_factory=bytearray)
    _file: IO[bytes] | None = None
    _room: int | None = None
    """How many bytes more the part at hand may have."""
    _held: int = 0

    def take(self, event: Event) -> None:
        """The next event of the decoder.

        Raises:
            ApiError, RequestEntityTooLarge: there is too much of something.
        """
        if isinstance(event, Field | File):
            self._begin(event)
        elif isinstance(event, Data):
            self._add(event.data)
            if not event.more_data:
                self._end()

    def _begin(self, part: Field | File) -> None:
        self._part, self._file, self._room = part, None, None
        name = (part.name or "").removesuffix("[]")
        bounds = self.spooled.get(name)
        if bounds is not None:
            before = self.files.getlist(name) + self.files.getlist(f"{name}[]")
            if len(before) == bounds.most:
                raise BadRequestError(f"{name}: at most {bounds.most} are accepted.", param=name)
            self._room = bounds.limit
        if bounds is not None or isinstance(part, File):
            filename = part.filename if isinstance(part, File) else None
            self._file = self.open_file(None, part.headers.get("content-type"), filename)

    def _add(self, data: bytes) -> None:
        if self._file is None:
            self._held += len(data)
            if self.limit is not None and self._held > self.limit:
                raise RequestEntityTooLarge
            self._text += data
            return
        if self._room is not None:
            self._room -= len(data)
            if self._room < 0:
                name = (self._part.name if self._part else "").removesuffix("[]")
                limit = self.spooled[name].limit
                raise TooLargeError(f"{name}: one has more than {limit} bytes.", param=name)
        self._file.write(data)

    def _end(self) -> None:
        part = self._part
        assert part is not None
        if self._file is None:
            self.texts.add(part.name, self._text.decode(errors="replace"))
            self._text.clear()
            return
        self._file.seek(0)
        # Without any it would be called as the file on the disk is.
        filename = part.filename if isinstance(part, File) else ""
        self.files.add(part.name, FileStorage(self._file, filename, part.name))


class FormParser(FormDataParser):
    """Reads forms as werkzeug's does, but for `spooled`, and texts are bounded together."""

    spooled: Mapping[str, Spooled] = {}

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        """The texts and the files of a body; other kinds of forms are werkzeug's.

        Raises:
            ValueError: it is broken.
            ApiError, RequestEntityTooLarge: there is too much of something.
        """
        if mimetype != "multipart/form-data":
            return super().parse(stream, mimetype, content_length, options)
        boundary = (options or {}).get("boundary", "").encode("ascii")
        if not boundary:
            raise ValueError("no boundary")
        decoder = MultipartDecoder(
            boundary, self.max_form_memory_size, max_parts=self.max_form_parts
        )
        parts = _Parts(self.stream_factory, self.spooled, self.max_form_memory_size)
        while not decoder.complete:
            decoder.receive_data(stream.read(_READ_BYTES) or None)
            while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
                parts.take(event)
        return stream, self.cls(parts.texts), self.cls(parts.files)

"""Reading a multipart upload: the file to disk as it comes, the fields into a checked model.

Starlette's form parser puts each file into one without a name, which a decoder in another process
cannot open, and reads on after the limit; so what it stands on (python-multipart) is used directly.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Self, TypeVar, get_origin

from pydantic import BaseModel, BeforeValidator, ValidationError
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from images.serving.errors import ApiError
from proxy_app.speech import language_code

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

IDLE_S = 60.0
"""A client that sends nothing for this long is given up."""
LEAST_BYTES_PER_S = 1024
"""What an upload must bring on average, once IDLE_S are over."""
_FIELDS_BYTES = 64 * 1024
"""All fields and part headers of a form together; a file's content is not counted."""

F = TypeVar("F", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class MoreFiles:
    """A field that brings files besides the recording; its name may have brackets."""

    name: str
    most: int
    """So many at most, ..."""
    limit: int
    """... each of so many bytes."""


@dataclass(slots=True)
class Form:
    """What came: the uploaded file on disk, each field's values, and the other files in order."""

    file: Path
    fields: dict[str, list[str]]
    more: list[Path]


async def read_form(
    request: Request, folder: Path, limit: int, setting: str, more: MoreFiles | None = None
) -> Form:
    """Read a request's multipart body.

    Args:
        request: its body must not have been touched.
        folder: where the files are written.
        limit: the largest body, in bytes.
        setting: the name of the setting that says so.
        more: files besides the recording that are wanted.

    Raises:
        ApiError: 400 for a form that is none, 408 for a client that stopped sending, 413.
        ClientDisconnect: the client hung up.
    """
    message = f"The upload is larger than {limit} bytes ({setting})."
    too_large = ApiError(413, "upload_too_large", message, param="file")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise too_large
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise ApiError(
            400, "invalid_form", "Send multipart/form-data with the recording in the field `file`."
        )
    try:
        with (folder / "upload").open("wb") as file, _Reader(file, folder, more) as reader:
            parser = MultipartParser(options[b"boundary"], reader.callbacks())
            await _feed(request, parser.write, limit, too_large)
    except FormParserError as error:
        raise ApiError(400, "invalid_form", f"The form cannot be read: {error}.") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ApiError(507, "storage_full", "The server's disk is full.") from error
    if not reader.complete:
        raise ApiError(400, "invalid_form", "The form ends before its last boundary.")
    if not reader.has_file:
        raise ApiError(400, "missing_file", "Send the recording in the field `file`.", param="file")
    return Form(folder / "upload", reader.fields, reader.paths)


async def _feed(
    request: Request, write: Callable[[bytes], int], limit: int, too_large: ApiError
) -> None:
    received = 0
    began = time.monotonic()
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            message = f"Nothing came for {IDLE_S:.0f} s in the middle of the upload."
            raise ApiError(408, "upload_stalled", message) from None
        received += len(chunk)
        took_s = time.monotonic() - began
        if took_s > IDLE_S and received < took_s * LEAST_BYTES_PER_S:
            message = f"The upload is too slow: under {LEAST_BYTES_PER_S} bytes per second."
            raise ApiError(408, "upload_too_slow", message)
        if received > limit:
            raise too_large
        # In a thread: the disk may be slow, and others are waiting.
        await run_in_threadpool(write, chunk)


@dataclass(slots=True)
class _Reader:
    """Takes what the parser finds."""

    file: BinaryIO
    folder: Path
    more: MoreFiles | None
    fields: dict[str, list[str]] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    has_file: bool = False
    complete: bool = False
    _another: BinaryIO | None = None
    _name: str = ""
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _text: bytearray = field(default_factory=bytearray)
    _size: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close_another()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._add(self._header, data[start:end]),
            "on_header_value": lambda data, start, end: self._add(self._value, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": self._content,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._name = ""

    def _add(self, buffer: bytearray, data: bytes) -> None:
        self._size += len(data)
        if self._size > _FIELDS_BYTES:
            raise FormParserError(f"its fields take more than {_FIELDS_BYTES} bytes")
        buffer += data

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name", b"").decode(errors="replace")
        self._header.clear()
        self._value.clear()

    def _begin_content(self) -> None:
        if self._name == "file":
            if self.has_file:
                raise FormParserError("the field `file` comes twice")
            self.has_file = True
        elif self.more and self._name.removesuffix("[]") == self.more.name:
            self._open_another(self.more)
        self._text.clear()

    def _open_another(self, more: MoreFiles) -> None:
        if len(self.paths) == more.most:
            message = f"{more.name}: at most {more.most} files are accepted."
            raise ApiError(400, "too_many_files", message, param=more.name)
        self.paths.append(self.folder / f"{more.name}-{len(self.paths)}")
        self._another = self.paths[-1].open("wb")

    def _close_another(self) -> None:
        if self._another:
            self._another.close()
            self._another = None

    def _content(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self.file.write(data[start:end])
        elif self.more and self._another:
            if self._another.tell() + end - start > self.more.limit:
                message = f"{self.more.name}: a file is larger than {self.more.limit} bytes."
                raise ApiError(413, "upload_too_large", message, param=self.more.name)
            self._another.write(data[start:end])
        else:
            self._add(self._text, data[start:end])

    def _end(self) -> None:
        if self._another:
            self._close_another()
        elif self._name != "file" and self._text.strip():  # an empty field is one left out
            text = self._text.decode(errors="replace")
            self.fields.setdefault(self._name, []).append(text)

    def _finish(self) -> None:
        self.complete = True


def _language(value: str) -> str:
    """A language's code; what is none stays, and is refused with those that the model has."""
    return language_code(value) or value


class CommonFields(BaseModel):
    """The fields of every request with audio."""

    language: Annotated[str, BeforeValidator(_language)] | None = None
    prompt: str | None = None
    stream: bool = False


def form_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """What FastAPI cannot see by itself: the request's form, for /openapi.json."""
    schema = kind.model_json_schema()
    schema["properties"] |= {
        "file": {"type": "string", "format": "binary"},
        "model": {"type": "string", "description": "Accepted; the server has one model."},
    }
    schema["required"] = ["file"]
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def check_fields(kind: type[F], fields: dict[str, list[str]]) -> F:
    """Make a model of a form's fields; unknown ones are passed over, as OpenAI's clients send some.

    A list may be sent as `name` or as `name[]`; of several values of another field the last counts.

    Raises:
        ApiError: 400, naming the field.
    """
    values: dict[str, Any] = {}
    for name, declared in kind.model_fields.items():
        given = fields.get(name, []) + fields.get(f"{name}[]", [])
        if given:
            values[name] = given if get_origin(declared.annotation) is list else given[-1]
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        param = str(first["loc"][0]) if first["loc"] else None
        reason = first["msg"].removeprefix("Value error, ")
        shown = f"{param}={str(first['input'])[:100]!r}: " if param else ""
        raise ApiError(400, "invalid_value", f"{shown}{reason}.", param=param) from None

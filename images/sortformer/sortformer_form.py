"""The multipart form of an upload."""

import importlib
import importlib.util
from typing import BinaryIO

from sortformer_refusals import Refusal


class Form:
    """Writes the field `file` of a multipart body to disk as it comes; other fields are dropped."""

    def __init__(self, content_type: str, file: BinaryIO) -> None:
        # The package's name before 0.0.13 was `multipart`, which another package has as well.
        name = "python_multipart" if importlib.util.find_spec("python_multipart") else "multipart"
        self._library = importlib.import_module(f"{name}.multipart")
        media_type, options = self._library.parse_options_header(content_type)
        if media_type != b"multipart/form-data" or not options.get(b"boundary"):
            message = "Send multipart/form-data with the recording in the field `file`."
            raise Refusal(400, "invalid_form", message)
        self._file = file
        self._header = bytearray()
        self._value = bytearray()
        self._is_file = False
        self._files = 0
        self._complete = False
        self._parser = self._library.MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._add(
                    self._header, data[start:end]
                ),
                "on_header_value": lambda data, start, end: self._add(self._value, data[start:end]),
                "on_header_end": self._end_header,
                "on_part_data": self._content,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Take the next part of the body.

        Raises:
            Refusal: 400, it is no form.
        """
        try:
            self._parser.write(chunk)
        except self._library.FormParserError as error:
            message = f"The form cannot be read: {error}."
            raise Refusal(400, "invalid_form", message) from None

    def check(self) -> None:
        """Refuse a form that has not come to its end, or had no file."""
        if not self._complete:
            raise Refusal(400, "invalid_form", "The form ends before its last boundary.")
        if self._files != 1:
            message = "Send one recording, as a file in the field `file`."
            raise Refusal(400, "missing_file", message)

    def _begin(self) -> None:
        self._is_file = False

    def _add(self, buffer: bytearray, data: bytes) -> None:
        buffer += data
        if len(buffer) > 4096:  # noqa: PLR2004 - more than any honest header
            raise Refusal(400, "invalid_form", "A header of the form is too long.")

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = self._library.parse_options_header(bytes(self._value))
            self._is_file = options.get(b"name") == b"file"
            self._files += self._is_file
        self._header.clear()
        self._value.clear()

    def _content(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._file.write(data[start:end])

    def _end(self) -> None:
        self._complete = True

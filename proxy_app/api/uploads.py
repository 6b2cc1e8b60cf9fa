"""Uploads that go to disk as they arrive."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from flask import Flask, Request, current_app, request
from gevent.lock import BoundedSemaphore
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from proxy_app.api.forms import FormParser, Spooled, sent_as_text
from proxy_app.errors import RETRY_SOON, ApiError, BadRequestError, TooLargeError
from proxy_app.gateway import current
from proxy_app.speech import MOST_KNOWN
from proxy_app.turns import let_others

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

TEXT_BYTES = 256 * 1024
"""All text fields of a form together."""
PARTS = 100
REFERENCES = "known_speaker_references"
"""A field of texts that are too long for memory: recordings in base64."""
REFERENCE_BYTES = 8 * 1024 * 1024
"""One of them, as it is sent."""
_SPOOLED = {REFERENCES: Spooled(MOST_KNOWN, REFERENCE_BYTES, are_texts=True)}
_YIELD_BYTES = 1024 * 1024
_PIECE = 64 * 1024


class SpoolingRequest(Request):
    """A request whose files are written to the spool folder, whatever their size."""

    form_data_parser_class = FormParser

    def __init__(self, environ: WSGIEnvironment, *, populate_request: bool = True) -> None:
        super().__init__(environ, populate_request=populate_request)
        self._stem: Path | None = None
        self._uploads: list[SpoolFile] = []
        self._paths: list[Path] = []
        self._place: BoundedSemaphore | None = None
        self._kept = False
        self.arrived: Callable[[], None] = lambda: None
        """To be called when it is known what the upload is, where that was awaited."""
        self._fields: MultiDict[str, str] | None = None
        self.recording: str | None = None
        """The field whose file is wanted, to be named before the form is read."""
        self._recordings: MultiDict[str, FileStorage] | None = None

    @property
    def fields(self) -> MultiDict[str, str]:
        """What was sent beside the recording: the form's fields, unless others were put here."""
        return self.form if self._fields is None else self._fields

    @fields.setter
    def fields(self, fields: MultiDict[str, str]) -> None:
        self._fields = fields

    @property
    def recordings(self) -> MultiDict[str, FileStorage]:
        """The recordings that were sent: the form's files, unless others were put here."""
        return self.files if self._recordings is None else self._recordings

    @recordings.setter
    def recordings(self, recordings: MultiDict[str, FileStorage]) -> None:
        self._recordings = recordings

    @property
    def digests(self) -> list[tuple[str, str]]:
        """The names of all recordings that were sent and are wanted, and their SHA-256s."""
        files = [(name, file.stream) for name, file in self.recordings.items(multi=True)]
        return [(name, file.digest) for name, file in files if isinstance(file, SpoolFile)]

    def take_place(self) -> None:
        """Count as one of the uploads that this worker takes at the same time.

        Raises:
            ApiError: there are too many.
        """
        uploads = current().uploads
        if not uploads.acquire(blocking=False):
            raise ApiError(
                "Too many uploads at the same time. Try again in a moment.",
                status=503,
                code="too_many_uploads",
                headers=RETRY_SOON,
            )
        self._place = uploads

    def new_upload(self) -> SpoolFile:
        """A file for a recording that is just being sent; closed with the request at the latest."""
        path = self.spool_path(f"upload-{len(self._uploads)}")
        self._uploads.append(SpoolFile(path, hashed=True))
        return self._uploads[-1]

    def _get_file_stream(self, *_about: object, **_more: object) -> IO[bytes]:
        return cast(IO[bytes], self.new_upload())

    def make_form_data_parser(self) -> FormParser:
        """One that knows the bounds, and what goes to disk; a broken body is an error."""
        parser = super().make_form_data_parser()
        assert isinstance(parser, FormParser)
        parser.silent = False
        parser.text_bytes, parser.most_parts = TEXT_BYTES, PARTS
        recordings = {} if self.recording is None else {self.recording: Spooled(1)}
        parser.spooled = _SPOOLED | recordings
        return parser

    def spool_path(self, name: str) -> Path:
        """Where a file of this request may be written; it goes with the request."""
        if self._stem is None:
            self._stem = current().spool.new_stem()
        self._paths.append(self._stem.with_name(f"{self._stem.name}-{name}"))
        return self._paths[-1]

    def keep(self) -> None:
        """Leave the files and the place to whoever calls `end`: the answer needs them."""
        self._kept = True

    def leave(self) -> None:
        """The view is done; so is the request, unless it is kept."""
        self.arrived()
        if not self._kept:
            self.end()

    def end(self) -> None:
        """Close and remove all files, also what a form that broke off left open."""
        for file in self._uploads:
            file.close()
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._uploads.clear()
        self._paths.clear()
        if self._place is not None:
            self._place.release()
            self._place = None


class SpoolFile(io.FileIO):
    """A file for this user only, whose writer lets other requests in between."""

    def __init__(self, path: Path, mode: str = "x+", *, hashed: bool = False) -> None:
        super().__init__(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))
        self._since_yield = 0
        self._hash = hashlib.sha256() if hashed else None

    @property
    def digest(self) -> str:
        """SHA-256 of what was written, where that is made."""
        return self._hash.hexdigest() if self._hash else ""

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Write all of it; a disk that fills up in the middle raises ENOSPC."""
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]
        if self._hash:
            self._hash.update(data)
        self._since_yield += len(data)
        if self._since_yield >= _YIELD_BYTES:
            self._since_yield = 0
            let_others()  # a fast sender would otherwise have the worker to itself
        return len(data)


def init_app(app: Flask, max_upload_bytes: int) -> None:
    """Bound what a request may send, and remove its files when it is over."""
    app.request_class = SpoolingRequest
    app.config["MAX_CONTENT_LENGTH"] = max_upload_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = TEXT_BYTES  # of forms that are no multipart
    app.before_request(_refuse_at_the_door)
    app.teardown_request(_leave)


def uploaded_file(name: str = "file") -> Path:
    """The path of the upload in that field, on disk.

    Raises:
        ApiError: there is none, the body is no multipart form, or it is over a limit.
    """
    how = f"Send multipart/form-data with the recording in the field `{name}`."
    _parse_form(name, how)
    uploads = request.files.getlist(name)
    if not uploads:
        if name in request.form:
            raise sent_as_text(name)
        raise BadRequestError(f"`{name}` is missing. {how}", param=name, code="missing_file")
    return Path(cast(SpoolFile, uploads[0].stream).name)


def spooled_json(limit_bytes: int) -> Path:
    """The path of the body, which should be JSON and is not looked into, on disk.

    Raises:
        ApiError: there is none, it says to be something else, or it is over the limit.
    """
    _expect_body("application/json", "Send a JSON object with Content-Type: application/json.")
    spooled = cast(SpoolingRequest, request)
    spooled.max_content_length = limit_bytes
    spooled.take_place()
    path = spooled.spool_path("body.json")
    try:
        with SpoolFile(path) as file:
            while piece := spooled.stream.read(_PIECE):
                file.write(piece)
    except RequestEntityTooLarge:
        raise TooLargeError(f"The request is over the limit of {limit_bytes} bytes.") from None
    return path


def _expect_body(mimetype: str, how: str) -> None:
    if request.content_length is None and not request.headers.get("Transfer-Encoding"):
        raise ApiError(
            f"The request has no body: neither Content-Length nor chunks came with it. {how}",
            status=411,
            code="length_required",
        )
    if request.mimetype != mimetype:
        sent = request.mimetype or "no content type"
        raise BadRequestError(
            f"The request is {sent}. {how}", status=415, code="unsupported_media_type"
        )


def _parse_form(recording: str, how: str) -> None:
    _expect_body("multipart/form-data", how)
    spooled = cast(SpoolingRequest, request)
    spooled.take_place()
    spooled.recording = recording
    try:
        request.form  # noqa: B018 - werkzeug parses on first use
    except RequestEntityTooLarge:
        raise too_large() from None
    except ValueError as error:
        raise BadRequestError(
            f"The multipart body is malformed: {error}. {how}", code="broken_body"
        ) from None


def too_large() -> ApiError:
    """The error of a form, or of what stands for one, that is over a limit."""
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    return TooLargeError(
        f"The request is over a limit: {limit} bytes in all, {PARTS} parts, {TEXT_BYTES} bytes of "
        "text."
    )


def _refuse_at_the_door() -> None:
    """What can be refused before the body is read."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ApiError(
            "Compressed request bodies are not accepted: send the file as it is.",
            status=415,
            code="unsupported_content_encoding",
        )
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    if (request.content_length or 0) > limit:
        raise TooLargeError(
            f"The request has {request.content_length} bytes; the limit is {limit}."
        )


def _leave(_error: BaseException | None) -> None:
    cast(SpoolingRequest, request).leave()

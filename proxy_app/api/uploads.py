"""Multipart uploads that go to disk as they arrive, and the fields beside them."""

from __future__ import annotations

import hashlib
import io
import math
import os
import time
from pathlib import Path
from threading import BoundedSemaphore
from typing import IO, TYPE_CHECKING, cast

from flask import Flask, Request, current_app, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from proxy_app.errors import RETRY_SOON, ApiError, BadRequestError, TooLargeError
from proxy_app.gateway import current
from proxy_app.speech import language_code
from proxy_app.upstreams import Options

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

TEXT_BYTES = 256 * 1024
"""All text fields of a form together."""
PARTS = 100
_MOST_SPEAKERS = 50
_LONGEST_PROMPT = 10_000
_MOST_KEYWORDS = 100
_LONGEST_KEYWORD = 100
_YIELD_BYTES = 1024 * 1024
_PIECE = 64 * 1024
_TRUE = ("true", "1", "yes", "on")
_HOW = "Send multipart/form-data with the recording in the field `file`."


class SpoolingRequest(Request):
    """A request whose files are written to the spool folder, whatever their size."""

    def __init__(self, environ: WSGIEnvironment, *, populate_request: bool = True) -> None:
        super().__init__(environ, populate_request=populate_request)
        self._stem: Path | None = None
        self._uploads: list[SpoolFile] = []
        self._paths: list[Path] = []
        self._place: BoundedSemaphore | None = None
        self._kept = False

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

    def _get_file_stream(self, *_about: object, **_more: object) -> IO[bytes]:
        path = self.spool_path(f"upload-{len(self._uploads)}")
        self._uploads.append(SpoolFile(path, hashed=True))
        return cast(IO[bytes], self._uploads[-1])

    def make_form_data_parser(self) -> FormDataParser:
        """As werkzeug's, but a broken body is an error and not an empty form."""
        parser = super().make_form_data_parser()
        parser.silent = False
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
            time.sleep(0)  # a fast sender would otherwise have the worker to itself
        return len(data)


def init_app(app: Flask, max_upload_bytes: int) -> None:
    """Bound what a request may send, and remove its files when it is over."""
    app.request_class = SpoolingRequest
    app.config["MAX_CONTENT_LENGTH"] = max_upload_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = TEXT_BYTES
    app.config["MAX_FORM_PARTS"] = PARTS
    app.before_request(_refuse_at_the_door)
    app.teardown_request(_leave)


def uploaded_file() -> Path:
    """The path of the upload in the field `file`, on disk.

    Raises:
        ApiError: there is none, the body is no multipart form, or it is over a limit.
    """
    _parse_form()
    uploads = request.files.getlist("file")
    if not uploads:
        if "file" in request.form:
            raise BadRequestError(
                f"`file` was sent as text: it needs a file name. {_HOW}",
                param="file",
                code="missing_file",
            )
        raise BadRequestError(f"`file` is missing. {_HOW}", param="file", code="missing_file")
    if len(uploads) > 1:
        raise BadRequestError("Send one `file` per request.", param="file")
    file = cast(SpoolFile, uploads[0].stream)
    file.close()  # an open file keeps its space on the disk when it is removed
    return Path(file.name)


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


def _parse_form() -> None:
    _expect_body("multipart/form-data", _HOW)
    cast(SpoolingRequest, request).take_place()
    try:
        request.form  # noqa: B018 - werkzeug parses on first use
    except RequestEntityTooLarge:
        raise _too_large() from None
    except ValueError:
        raise BadRequestError(
            f"The multipart body is malformed. {_HOW}", code="broken_body"
        ) from None


def _too_large() -> ApiError:
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    return TooLargeError(
        f"The request is over a limit: {limit} bytes in all, {PARTS} parts, {TEXT_BYTES} bytes of "
        "text."
    )


def options(*, words: bool = False, translate: bool = False) -> Options:
    """The transcription's, or the translation's, options in the form.

    Raises:
        BadRequestError: naming the field.
    """
    num, low, high = (_speakers(name) for name in ("num_speakers", "min_speakers", "max_speakers"))
    if low is not None and high is not None and low > high:
        raise BadRequestError(
            f"min_speakers={low} is more than max_speakers={high}.", param="min_speakers"
        )
    if num is not None and not (low or num) <= num <= (high or num):
        raise BadRequestError(
            f"num_speakers={num} is not between min_speakers and max_speakers.",
            param="num_speakers",
        )
    prompt = request.form.get("prompt", "")
    if len(prompt) > _LONGEST_PROMPT:
        raise BadRequestError(
            f"The prompt has {len(prompt)} characters; at most {_LONGEST_PROMPT} are accepted.",
            param="prompt",
        )
    return Options(
        language=_language("language", request.form.get("language", "")),
        prompt=prompt,
        languages=_languages(),
        keywords=_keywords(),
        temperature=_temperature(),
        translate=translate,
        num_speakers=num,
        min_speakers=low,
        max_speakers=high,
        words=words,
    )


def flag(name: str) -> bool:
    """Whether a field of the form says yes."""
    return request.form.get(name, "").strip().lower() in _TRUE


def _speakers(name: str) -> int | None:
    text = request.form.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MOST_SPEAKERS):
        raise BadRequestError(
            f"{name}={text[:40]!r}: expected a whole number from 1 to {_MOST_SPEAKERS}.", param=name
        )
    return int(text)


def values(name: str) -> list[str]:
    """A field that may come several times, with brackets, as OpenAI's SDKs send an array, or not.

    What is joined by commas counts as several, too.
    """
    sent = request.form.getlist(f"{name}[]") + request.form.getlist(name)
    return [value.strip() for text in sent for value in text.split(",") if value.strip()]


def _language(name: str, text: str) -> str | None:
    if text.strip().lower() in ("", "auto"):
        return None
    code = language_code(text)
    if code is None:
        raise BadRequestError(
            f"{name}={text[:40]!r} is not known: send a code (en), a tag (en-US) or an English "
            "name (English), or leave it out and the language is detected.",
            param=name,
        )
    return code


def _languages() -> tuple[str, ...]:
    found = (_language("languages", text) for text in values("languages"))
    return tuple(dict.fromkeys(code for code in found if code))


def _keywords() -> tuple[str, ...]:
    keywords = tuple(values("keywords") + values("hotwords"))
    if len(keywords) > _MOST_KEYWORDS or any(len(word) > _LONGEST_KEYWORD for word in keywords):
        raise BadRequestError(
            f"At most {_MOST_KEYWORDS} keywords of {_LONGEST_KEYWORD} characters are accepted.",
            param="keywords",
        )
    return keywords


def _temperature() -> float:
    text = request.form.get("temperature", "").strip() or "0"
    try:
        temperature = float(text)
    except ValueError:
        temperature = math.nan
    if not 0 <= temperature <= 1:
        raise BadRequestError(
            f"temperature={text[:40]!r}: expected a number from 0 to 1.", param="temperature"
        )
    return temperature


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

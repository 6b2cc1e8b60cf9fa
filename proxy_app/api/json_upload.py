"""A recording inside a JSON object: {"input_audio": {"data": BASE64, "format": "wav"}, ...}.

Open WebUI can send it so. The body lies on disk and is mapped, not read: what is in memory of it is
a piece at a time.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import msgspec
from flask import current_app, request
from werkzeug.datastructures import FileStorage, MultiDict

from proxy_app.api.base64_pieces import decoded
from proxy_app.api.json_members import NoObjectError, Span, Wanted, members
from proxy_app.api.uploads import (
    REFERENCE_BYTES,
    REFERENCES,
    TEXT_BYTES,
    SpoolFile,
    SpoolingRequest,
    spooled_json,
    too_large,
)
from proxy_app.errors import BadRequestError, TooLargeError
from proxy_app.speech import MOST_KNOWN

HOW = (
    "Send multipart/form-data with the recording in the field `file`, or a JSON object with "
    '`input_audio`: {"data": "BASE64", "format": "wav"}.'
)
_DATA = "input_audio.data"
_PIECE = 256 * 1024
_BEGUN = re.compile(rb"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
"""An escape that the end of a piece cuts."""
_LONGEST_ESCAPE = len(r"\u0041")
_ABSENT = msgspec.Raw()
_RECORDINGS = ("input_audio", REFERENCES)
_FIELDS = (
    "model", "language", "languages", "keywords", "hotwords", "prompt", "initial_prompt",
    "response_format", "temperature", "include", "timestamp_granularities", "stream",
    "chunking_strategy", "num_speakers", "min_speakers", "max_speakers", "known_speaker_names",
    "webhook",
)  # fmt: skip
_SENT, _AUDIO = Wanted(*_RECORDINGS, *_FIELDS), Wanted("data")
"""What is looked at. The rest is passed over where it lies, however much it is."""
_Several = msgspec.defstruct(
    "_Several",
    [(f"at_{place}", msgspec.Raw, _ABSENT) for place in range(MOST_KNOWN + 1)],
    array_like=True,
)
"""As many of an array as may be, and one: what follows is passed over, and never in memory."""
_LONGEST_ARRAY = 2 * MOST_KNOWN * REFERENCE_BYTES
"""With what may be between the texts: an array is taken apart at once."""


def recording_in_json() -> Path:
    """The path of the recording, on disk; the object's other values become the request's fields.

    Raises:
        ApiError: it is no such object, or over a limit.
    """
    body = spooled_json(current_app.config["MAX_CONTENT_LENGTH"])
    spooled = cast(SpoolingRequest, request)
    sent = _mapped(body)
    text, found = memoryview(sent), _members(sent, _SENT)
    spooled.fields = _fields({it: found[it].of(text) for it in _FIELDS if it in found})
    if "input_audio" not in found:
        raise BadRequestError(
            f"`input_audio` is missing. {HOW}", param="input_audio", code="missing_file"
        )
    audio = _members(sent, _AUDIO, "input_audio", found["input_audio"])
    data = audio["data"].of(text) if "data" in audio else memoryview(b"")
    if bytes(data[:1]) != b'"':
        raise BadRequestError(f"`{_DATA}` is to be a text. {HOW}", param=_DATA, code="missing_file")
    with spooled.new_upload() as upload:
        try:
            for piece in _decoded(data[1:-1]):
                upload.write(piece)
        except ValueError:
            raise _no_base64() from None
    array = found[REFERENCES].of(text) if REFERENCES in found else memoryview(b"")
    files = [("input_audio", upload), *((REFERENCES, it) for it in _references(array, spooled))]
    spooled.recordings = MultiDict(
        (name, FileStorage(cast(IO[bytes], file), "", name)) for name, file in files
    )
    body.unlink()  # the disk is needed
    return Path(upload.name)


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # it is empty
            raise _unusable() from None


def _members(
    sent: mmap.mmap, wanted: Wanted, param: str | None = None, within: Span | None = None
) -> dict[str, Span]:
    try:
        return members(sent, wanted, within)
    except NoObjectError:
        raise _unusable(param) from None


def _unusable(param: str | None = None) -> BadRequestError:
    if param is not None:
        message = f"`{param}` is to be an object. {HOW}"
        return BadRequestError(message, param=param, code="invalid_type")
    message = f"We could not parse the JSON body of your request. {HOW}"
    return BadRequestError(message, code="invalid_json")


def _decoded(text: memoryview) -> Iterator[bytes]:
    return decoded(_unescaped(text), is_filled_up=True)


def _unescaped(text: memoryview) -> Iterator[bytes]:
    """A text of JSON, piece by piece, without the ends of its lines.

    JSON may write a slash with a backslash before it, the end of a line as two characters, and any
    letter by its number.

    Raises:
        ValueError: there is a backslash in it, which is no base64.
    """
    held = b""
    for start in range(0, len(text), _PIECE):
        piece = held + bytes(text[start : start + _PIECE])
        if b"\\\\" in piece:
            raise ValueError("a backslash is no base64")
        begun = _BEGUN.search(piece, max(0, len(piece) - _LONGEST_ESCAPE))
        held = begun[0] if begun else b""
        piece = piece[: len(piece) - len(held)]
        if b"\\u" in piece:
            letters = json.loads(b'"%s"' % piece).encode("ascii", "replace")
            yield letters.replace(b"\\", b"?").translate(None, b"\r\n")
        else:
            yield piece.replace(b"\\/", b"/").replace(b"\\n", b"").replace(b"\\r", b"")
    yield held


def _no_base64() -> BadRequestError:
    return BadRequestError(
        f"`{_DATA}` is not base64 (A to Z, a to z, 0 to 9, + and /, filled up with =).",
        param=_DATA,
        code="invalid_base64",
    )


def _references(array: memoryview, spooled: SpoolingRequest) -> Iterator[SpoolFile]:
    """The known speakers' voices, as texts on disk: as they lie in the object, or as one text."""
    texts = [array] if bytes(array[:1]) == b'"' else _elements(array)
    if len(texts) > MOST_KNOWN:
        raise BadRequestError(f"{REFERENCES}: at most {MOST_KNOWN} are accepted.", param=REFERENCES)
    for text in texts:
        if bytes(text[:1]) != b'"':
            raise _no_texts()
        if len(text) > REFERENCE_BYTES:
            message = f"{REFERENCES}: one has more than {REFERENCE_BYTES} bytes."
            raise TooLargeError(message, param=REFERENCES)
        with spooled.new_upload() as file:
            try:
                for piece in _unescaped(text[1:-1]):
                    file.write(piece)
            except ValueError:
                raise _no_texts() from None
        yield file


def _elements(array: memoryview) -> list[memoryview]:
    """Those of an array, as many as may be and one; none where there is no array."""
    if bytes(array[:5]) in (b"", b"null"):
        return []
    if len(array) > _LONGEST_ARRAY:
        message = f"{REFERENCES}: all of them have more than {_LONGEST_ARRAY} bytes."
        raise TooLargeError(message, param=REFERENCES)
    try:
        found = msgspec.structs.astuple(msgspec.json.decode(array, type=_Several))
    except (msgspec.DecodeError, RecursionError):
        raise _no_texts() from None
    return [memoryview(it) for it in found if it != _ABSENT]


def _no_texts() -> BadRequestError:
    return BadRequestError(
        f"`{REFERENCES}` is to be an array of texts: data URLs of recordings.",
        param=REFERENCES,
        code="invalid_type",
    )


def _fields(sent: dict[str, memoryview]) -> MultiDict[str, str]:
    """The other values as a form would have them."""
    if sum(map(len, sent.values())) > TEXT_BYTES:
        raise too_large()
    fields: MultiDict[str, str] = MultiDict()
    for name, raw in sent.items():
        try:
            fields.update(_as_form(name, msgspec.json.decode(raw)))
        except (ValueError, RecursionError):  # of a number without end, of bytes that are no UTF-8
            message = f"`{name}` is not a value that can be read: {_shown(raw)}."
            raise BadRequestError(message, param=name) from None
    return fields


def _shown(raw: memoryview) -> str:
    return repr(bytes(raw[:40]).decode(errors="replace"))


def _as_form(name: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, list):
        return [(f"{name}[]", _text(each)) for each in value]
    return [] if value is None else [(name, _text(value))]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

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
from typing import IO, TypeVar, cast

import msgspec
from flask import current_app, request
from werkzeug.datastructures import FileStorage, MultiDict

from proxy_app.api.base64_pieces import decoded
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


class _Audio(msgspec.Struct):
    data: msgspec.Raw = _ABSENT


class _Sent(msgspec.Struct):
    """What is looked at. The rest is passed over where it lies, however much it is."""

    input_audio: msgspec.Raw = _ABSENT
    model: msgspec.Raw = _ABSENT
    language: msgspec.Raw = _ABSENT
    languages: msgspec.Raw = _ABSENT
    keywords: msgspec.Raw = _ABSENT
    hotwords: msgspec.Raw = _ABSENT
    prompt: msgspec.Raw = _ABSENT
    initial_prompt: msgspec.Raw = _ABSENT
    response_format: msgspec.Raw = _ABSENT
    temperature: msgspec.Raw = _ABSENT
    include: msgspec.Raw = _ABSENT
    timestamp_granularities: msgspec.Raw = _ABSENT
    stream: msgspec.Raw = _ABSENT
    chunking_strategy: msgspec.Raw = _ABSENT
    num_speakers: msgspec.Raw = _ABSENT
    min_speakers: msgspec.Raw = _ABSENT
    max_speakers: msgspec.Raw = _ABSENT
    known_speaker_names: msgspec.Raw = _ABSENT
    known_speaker_references: msgspec.Raw = _ABSENT
    webhook: msgspec.Raw = _ABSENT


_RECORDINGS = ("input_audio", REFERENCES)
_FIELDS = tuple(name for name in _Sent.__struct_fields__ if name not in _RECORDINGS)
_S = TypeVar("_S", _Audio, _Sent)
_Several = msgspec.defstruct(
    "_Several",
    [(f"at_{place}", msgspec.Raw, _ABSENT) for place in range(MOST_KNOWN + 1)],
    array_like=True,
)
"""As many of an array as may be, and one: what follows is passed over, and never in memory."""


def recording_in_json() -> Path:
    """The path of the recording, on disk; the object's other values become the request's fields.

    Raises:
        ApiError: it is no such object, or over a limit.
    """
    body = spooled_json(current_app.config["MAX_CONTENT_LENGTH"])
    spooled = cast(SpoolingRequest, request)
    given = _object(_mapped(body), _Sent, None)
    spooled.fields = _fields(given)
    if given.input_audio == _ABSENT:
        raise BadRequestError(
            f"`input_audio` is missing. {HOW}", param="input_audio", code="missing_file"
        )
    data = memoryview(_object(given.input_audio, _Audio, "input_audio").data)
    if bytes(data[:1]) != b'"':
        raise BadRequestError(f"`{_DATA}` is to be a text. {HOW}", param=_DATA, code="missing_file")
    with spooled.new_upload() as upload:
        try:
            for piece in _decoded(data[1:-1]):
                upload.write(piece)
        except ValueError:
            raise _no_base64() from None
    files = [("input_audio", upload), *((REFERENCES, it) for it in _references(given, spooled))]
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


def _object(data: mmap.mmap | msgspec.Raw, kind: type[_S], param: str | None = None) -> _S:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError):
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


def _references(given: _Sent, spooled: SpoolingRequest) -> Iterator[SpoolFile]:
    """The known speakers' voices, as texts on disk: as they lie in the object, or as one text."""
    sent = memoryview(given.known_speaker_references)
    texts = [sent] if bytes(sent[:1]) == b'"' else _elements(given.known_speaker_references)
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


def _elements(array: msgspec.Raw) -> list[memoryview]:
    """Those of an array, as many as may be and one; none where there is no array."""
    if bytes(memoryview(array)[:5]) in (b"", b"null"):
        return []
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


def _fields(given: _Sent) -> MultiDict[str, str]:
    """The other values as a form would have them."""
    sent = {name: getattr(given, name) for name in _FIELDS if getattr(given, name) != _ABSENT}
    if sum(len(memoryview(raw)) for raw in sent.values()) > TEXT_BYTES:
        raise too_large()
    fields: MultiDict[str, str] = MultiDict()
    for name, raw in sent.items():
        try:
            fields.update(_as_form(name, msgspec.json.decode(raw)))
        except (ValueError, RecursionError):  # of a number without end, of bytes that are no UTF-8
            message = f"`{name}` is not a value that can be read: {_shown(raw)}."
            raise BadRequestError(message, param=name) from None
    return fields


def _shown(raw: msgspec.Raw) -> str:
    return repr(bytes(memoryview(raw)[:40]).decode(errors="replace"))


def _as_form(name: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, list):
        return [(f"{name}[]", _text(each)) for each in value]
    return [] if value is None else [(name, _text(value))]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

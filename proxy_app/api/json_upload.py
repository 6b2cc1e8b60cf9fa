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
from typing import TypeVar, cast

import msgspec
from flask import current_app, request
from werkzeug.datastructures import MultiDict

from proxy_app.api.base64_pieces import decoded
from proxy_app.api.uploads import TEXT_BYTES, SpoolFile, SpoolingRequest, spooled_json, too_large
from proxy_app.errors import BadRequestError

HOW = (
    "Send multipart/form-data with the recording in the field `file`, or a JSON object with "
    '`input_audio`: {"data": "BASE64", "format": "wav"}.'
)
_DATA = "input_audio.data"
_PIECE = 256 * 1024
_NUMBERED = re.compile(rb"\\u([0-9A-Fa-f]{4})")
_BEGUN = re.compile(rb"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
"""An escape that the end of a piece cuts."""
_LONGEST_ESCAPE = len(r"\u0041")
_NOTHING = re.compile(rb"(?:null|\[[ \t\r\n]*\])?\Z")
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


_FIELDS = tuple(name for name in _Sent.__struct_fields__ if name != "input_audio")
_S = TypeVar("_S", _Audio, _Sent)


def recording_in_json() -> Path:
    """The path of the recording, on disk; the object's other values become the request's fields.

    Raises:
        ApiError: it is no such object, or over a limit.
    """
    body = spooled_json(current_app.config["MAX_CONTENT_LENGTH"])
    spooled = cast(SpoolingRequest, request)
    recording = spooled.spool_path("upload-0")
    given = _object(_mapped(body), _Sent, None)
    _refuse_references(given)
    spooled.fields = _fields(given)
    if given.input_audio == _ABSENT:
        raise BadRequestError(
            f"`input_audio` is missing. {HOW}", param="input_audio", code="missing_file"
        )
    data = memoryview(_object(given.input_audio, _Audio, "input_audio").data)
    if bytes(data[:1]) != b'"':
        raise BadRequestError(f"`{_DATA}` is to be a text. {HOW}", param=_DATA, code="missing_file")
    with SpoolFile(recording, hashed=True) as upload:
        try:
            for piece in _decoded(data[1:-1]):
                upload.write(piece)
        except ValueError:
            raise _no_base64() from None
    spooled.other_digests.append(("input_audio", upload.digest))
    body.unlink()  # the disk is needed
    return recording


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
        piece = _NUMBERED.sub(_letter, piece[: len(piece) - len(held)])
        yield piece.replace(b"\\/", b"/").replace(b"\\n", b"").replace(b"\\r", b"")
    yield held


def _letter(numbered: re.Match[bytes]) -> bytes:
    letter = chr(int(numbered[1], 16))
    return b"" if letter in "\r\n" else letter.replace("\\", "?").encode("ascii", "replace")


def _no_base64() -> BadRequestError:
    return BadRequestError(
        f"`{_DATA}` is not base64 (A to Z, a to z, 0 to 9, + and /, filled up with =).",
        param=_DATA,
        code="invalid_base64",
    )


def _refuse_references(given: _Sent) -> None:
    for name in ("known_speaker_names", "known_speaker_references"):
        if not _NOTHING.match(memoryview(getattr(given, name))):
            raise BadRequestError(
                f"`{name}` can be sent in multipart/form-data alone.",
                param=name,
                code="unsupported_value",
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

"""known_speaker_names and known_speaker_references: people whom the client knows, as OpenAI has it.

The references come as data URLs in text fields, megabytes long, or as files. They are on the disk
already (`api/forms`), and none is ever in memory as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar, cast

from flask import request
from werkzeug.datastructures import FileStorage

from proxy_app.api.base64_pieces import decoded
from proxy_app.api.fields import sent
from proxy_app.api.relay import while_connected
from proxy_app.api.uploads import REFERENCES, SpoolFile, SpoolingRequest
from proxy_app.audio import AudioError
from proxy_app.errors import BadRequestError
from proxy_app.gateway import Gateway, current
from proxy_app.speech import REFERENCE_S, REFERENCE_SLACK_S, known_names
from proxy_app.transcribing.attempts import decode
from proxy_app.upstreams import KnownSpeaker

T = TypeVar("T")

_NAMES = "known_speaker_names"
_DATA_URL = re.compile(rb"\s*data:[^,]*;base64,", re.IGNORECASE)
_HEAD_BYTES = 256
"""The comma of a data URL comes sooner."""
_PIECE = 64 * 1024
_SPACE = b" \t\r\n"
_FULL = 507
_HOW = "expected a data URL (data:audio/wav;base64,...) of a recording, or a file"


def known_speakers() -> tuple[KnownSpeaker, ...]:
    """The people who are named, and their voices, decoded; the files go with the request.

    Raises:
        BadRequestError: naming the field.
        ClientGoneError: the client hung up meanwhile.
    """
    spooled = cast(SpoolingRequest, request)
    parts = _several(spooled.recordings.getlist, REFERENCES)
    try:
        names = known_names(_several(sent().getlist, _NAMES))
    except ValueError as error:
        raise BadRequestError(f"{_NAMES}: {error}.", param=_NAMES) from None
    if len(names) != len(parts):
        raise BadRequestError(
            f"There are {len(names)} {_NAMES} and {len(parts)} {REFERENCES}: send a reference for "
            "each name, in the same order.",
            param=_NAMES if len(names) < len(parts) else REFERENCES,
        )
    if not names:
        return ()
    work = _Decoding(current(), spooled.spool_path)
    return while_connected(request.environ, lambda: work.all_of(names, parts))


def refuse_known_speakers(why: str) -> None:
    """Refuse the fields where the answer has no speakers.

    Raises:
        BadRequestError: one of them was sent.
    """
    recordings = cast(SpoolingRequest, request).recordings
    for name, fields in ((_NAMES, sent()), (REFERENCES, recordings)):
        if name in fields or f"{name}[]" in fields:
            raise BadRequestError(f"{name} {why}", param=name, code="unsupported_value")


def _several(getlist: Callable[[str], list[T]], name: str) -> list[T]:
    """A field that comes several times, with brackets, as OpenAI's SDKs send an array, or not.

    Unlike in others a comma does not part two values: it may be in a name.
    """
    return getlist(f"{name}[]") + getlist(name)


@dataclass(frozen=True, slots=True)
class _Decoding:
    """Makes the services' WAVs of references, in a greenlet that knows no request."""

    gateway: Gateway
    spool_path: Callable[[str], Path]

    def all_of(
        self, names: Sequence[str], parts: Sequence[FileStorage]
    ) -> tuple[KnownSpeaker, ...]:
        """The people, in their order.

        Raises:
            BadRequestError: naming the first who is wrong.
        """
        found = []
        for number, (name, part) in enumerate(zip(names, parts, strict=True)):
            try:
                found.append(self._one_of(name, part, number))
            except ValueError as error:
                message = f"{REFERENCES}[{number}], for {name}: {error}."
                raise BadRequestError(message, param=REFERENCES) from None
            except AudioError as error:
                if error.status == _FULL:
                    raise
                message = f"{REFERENCES}[{number}], for {name}: {error.message}"
                raise BadRequestError(message, param=REFERENCES, code=error.code) from None
        return tuple(found)

    def _one_of(self, name: str, part: FileStorage, number: int) -> KnownSpeaker:
        """A name with its voice.

        Raises:
            ValueError: it is no data URL, or too short or too long.
            AudioError: it is no audio.
        """
        sound = Path(cast(SpoolFile, part.stream).name)
        if not part.filename:
            sent, sound = sound, self.spool_path(f"reference-{number}")
            with sent.open("rb") as source, SpoolFile(sound) as file:
                _from_data_url(source, file)
            sent.unlink()
        wav = self.spool_path(f"reference-{number}.wav")
        (shortest_s, longest_s), slack_s = REFERENCE_S, REFERENCE_SLACK_S
        try:
            duration_s = decode(self.gateway, sound, wav, longest_s=longest_s + slack_s)
        except AudioError as error:
            if error.code == "audio_too_long":
                raise ValueError(f"it is longer than {longest_s:g} s") from None
            raise
        if duration_s < shortest_s - slack_s:
            needed = f"{shortest_s:g} to {longest_s:g} s are needed"
            raise ValueError(f"it has {duration_s:.1f} s; {needed}")
        return KnownSpeaker(name, wav, duration_s)


def _from_data_url(source: IO[bytes], target: IO[bytes]) -> None:
    """Write what a data URL holds, piece by piece.

    Raises:
        ValueError: it is none, or no base64.
    """
    head = _DATA_URL.match(source.read(_HEAD_BYTES))
    if head is None:
        raise ValueError(_HOW)
    source.seek(head.end())
    pieces = (piece.translate(None, _SPACE) for piece in iter(lambda: source.read(_PIECE), b""))
    for sound in decoded(pieces, is_filled_up=False):
        target.write(sound)

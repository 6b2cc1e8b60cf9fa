"""RTTM, the diarizers' format: one turn a line, ten fields, of which five count here.

    SPEAKER recording 1 START DURATION <NA> <NA> SPEAKER <NA> <NA>

Seconds; NIST's Rich Transcription evaluation plan (2009), appendix A.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from proxy_app.speech.formats.errors import FormatError
from proxy_app.speech.model import Transcript, Turn

_MISSING = "<NA>"
_FEWEST, _MOST = 8, 10  # fields; the two after the speaker are often left out
_OTHER_TYPES = re.compile(
    r"SEGMENT|NOSCORE|NO_RT_METADATA|LEXEME|NON-LEX|NON-SPEECH|FILLER|EDIT|IP|SU|CB|A/P|SPKR-INFO"
)


def parse_rttm(text: str) -> list[Turn]:
    """The turns of an RTTM file, in its order.

    Comments (;; or #), empty lines and lines of other types than SPEAKER are passed over. Times
    are taken as they are, a missing one (<NA>) as NaN: `merge` tells which turns it cannot use.

    Raises:
        FormatError: a SPEAKER line has too few or too many fields, no speaker, times that are no
            numbers, or another recording than those before it; names the line.
    """
    turns = []
    recording = ""
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith((";;", "#")):
            continue
        if _OTHER_TYPES.fullmatch(fields[0]):
            continue
        if fields[0] != "SPEAKER":
            raise FormatError(f"line {number}: {line.strip()[:80]!r} is not a line of RTTM")
        try:
            turns.append(_turn(fields))
        except FormatError as error:
            raise FormatError(f"line {number}: {error}") from None
        recording = recording or fields[1]
        if fields[1] != recording:
            raise FormatError(
                f"line {number}: the file has turns of {recording} and {fields[1]}: merge one"
                " recording at a time"
            )
    return turns


def _turn(fields: Sequence[str]) -> Turn:
    if not _FEWEST <= len(fields) <= _MOST:
        raise FormatError(
            f"a SPEAKER line has {_FEWEST} to {_MOST} fields and no spaces in a name, this one has"
            f" {len(fields)}"
        )
    try:
        start, duration = _seconds(fields[3]), _seconds(fields[4])
    except ValueError:
        raise FormatError(
            f"fields 4 and 5 are the start and the duration in seconds, not {fields[3]!r} and"
            f" {fields[4]!r}"
        ) from None
    if fields[7] == _MISSING:
        raise FormatError("field 8 is the speaker, not <NA>; a space in a name shifts the fields")
    return Turn(start, start + duration, fields[7])


def _seconds(field: str) -> float:
    return math.nan if field == _MISSING else float(field)


def to_rttm(transcript: Transcript, recording: str = "audio") -> str:
    """One SPEAKER line for each segment; Speaker_0 where no speaker is known.

    Args:
        transcript: its segments' times are in seconds, written to the millisecond.
        recording: the second field; in it and in speakers' names spaces become underscores.
    """
    return "".join(
        f"SPEAKER {_field(recording)} 1 {segment.start:.3f} {segment.end - segment.start:.3f}"
        f" <NA> <NA> {_field(segment.speaker or '') or 'Speaker_0'} <NA> <NA>\n"
        for segment in transcript.segments
    )


def _field(name: str) -> str:
    return "_".join(name.split())

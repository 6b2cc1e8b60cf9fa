"""RTTM, the diarizers' format: one turn a line, ten fields, of which five count here.

    SPEAKER recording 1 START DURATION <NA> <NA> SPEAKER <NA> <NA>

Seconds; NIST's Rich Transcription evaluation plan (2009), appendix A.
"""

from __future__ import annotations

import re

from proxy_app.speech.formats.errors import FormatError
from proxy_app.speech.model import Transcript, Turn

_FIELDS = 8  # the two after the speaker are often left out
_OTHER_TYPES = re.compile(
    r"SEGMENT|NOSCORE|NO_RT_METADATA|LEXEME|NON-LEX|NON-SPEECH|FILLER|EDIT|IP|SU|CB|A/P|SPKR-INFO"
)


def parse_rttm(text: str) -> list[Turn]:
    """The turns of an RTTM file, in its order.

    Comments (;; or #), empty lines and lines of other types than SPEAKER are passed over. Times
    are taken as they are: `merge` tells which turns it cannot use.

    Raises:
        FormatError: a SPEAKER line is too short, or its times are no numbers; names the line.
    """
    turns = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith((";;", "#")):
            continue
        if _OTHER_TYPES.fullmatch(fields[0]):
            continue
        if fields[0] != "SPEAKER":
            raise FormatError(f"line {number}: {line.strip()[:80]!r} is not a line of RTTM")
        if len(fields) < _FIELDS:
            raise FormatError(
                f"line {number}: a SPEAKER line has {_FIELDS} fields or more, this one has"
                f" {len(fields)}"
            )
        try:
            start, duration = float(fields[3]), float(fields[4])
        except ValueError:
            raise FormatError(
                f"line {number}: fields 4 and 5 are the start and the duration in seconds, not"
                f" {fields[3]!r} and {fields[4]!r}"
            ) from None
        turns.append(Turn(start, start + duration, fields[7]))
    return turns


def to_rttm(transcript: Transcript, recording: str = "audio") -> str:
    """One SPEAKER line for each segment; Speaker_0 where no speaker is known.

    Args:
        transcript: its segments' times are in seconds, written to the millisecond.
        recording: the second field; a name without spaces.
    """
    return "".join(
        f"SPEAKER {recording} 1 {segment.start:.3f} {segment.end - segment.start:.3f}"
        f" <NA> <NA> {segment.speaker or 'Speaker_0'} <NA> <NA>\n"
        for segment in transcript.segments
    )

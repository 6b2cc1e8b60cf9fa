"""SubRip (srt) and WebVTT (vtt). Where speakers are known every cue names its own.

WebVTT has a tag for it, which players style or hide: <v Speaker_0>. SubRip has none, so the text
begins with "Speaker_0: ", inside the limits of a line; every cue has it, because people search, cut
and quote single cues.
"""

from __future__ import annotations

from proxy_app.speech.cues import Cue, cues
from proxy_app.speech.model import Transcript


def to_srt(transcript: Transcript) -> str:
    """The transcript as SubRip; "" without words."""
    return "".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n"
        + "".join(f"{line}\n" for line in cue.lines)
        + "\n"
        for number, cue in enumerate(cues(transcript.segments, "{}: ".format), 1)
    )


def to_vtt(transcript: Transcript) -> str:
    """The transcript as WebVTT (w3.org/TR/webvtt1)."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_voiced(cue)}\n\n"
        for cue in cues(transcript.segments)
    )


def _voiced(cue: Cue) -> str:
    text = "\n".join(map(_escaped, cue.lines))
    return text if cue.speaker is None else f"<v {_escaped(cue.speaker)}>{text}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, point: str) -> str:
    """HH:MM:SS and milliseconds; more than two digits for the hours where it takes them."""
    rest, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(rest, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}{point}{milliseconds:03d}"

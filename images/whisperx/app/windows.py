"""The stretches that speakers are told apart in, one after another: cut at silence.

Finding speakers takes memory and time that grow faster than the recording; windows bound both.
"""

from __future__ import annotations

from collections.abc import Iterator

from images.serving.windows import Window, count_windows
from images.whisperx.app.speech_map import SpeechMap

LONGEST = 1.2
"""A window without a silence is cut anyway at so many times its wanted length: 18 min for 15."""
SILENCE_S = 0.3
"""A pause at least so long is one to cut at."""


def windows(speech: SpeechMap, duration_s: float, window_s: float) -> Iterator[Window]:
    """Cut a recording; the next window is looked for when it is asked for.

    A recording that fits is one window. What is left of a longer one is shared out evenly, so that
    no window is a remainder too short to know voices by; each cut is at the first pause from there
    on, or where the window has `LONGEST` times the wanted length and there was none.

    Args:
        speech: where the pauses are.
        duration_s: the recording's length, in seconds.
        window_s: how long a window should be, in seconds.
    """
    start = 0.0
    while duration_s - start > window_s:
        rest = duration_s - start
        wanted_s = rest / count_windows(rest, window_s)
        end = speech.pause(start + wanted_s, start + LONGEST * wanted_s, SILENCE_S)
        yield Window(start, end)
        start = end
    if duration_s > start or start == 0.0:
        yield Window(start, duration_s)

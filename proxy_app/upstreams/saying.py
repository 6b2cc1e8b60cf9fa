"""A piece of text said whole by any adapter, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from proxy_app.audio.encode import Sound, silence, smooth
from proxy_app.services import Service
from proxy_app.speech.pace import SHORTEST_S, Paces, Verdict, judged
from proxy_app.speech.pieces import longest_s, pieces
from proxy_app.speech.voices import Voice
from proxy_app.upstreams.errors import CutShortError

log = logging.getLogger(__name__)

NOTHING_S = 0.25
"""The silence for a text in which there is nothing to say."""
_DEEPEST = 3
"""A piece becomes eight at most: even a voice that is four times too slow ends in time then."""


@dataclass(frozen=True, slots=True)
class Speaking:
    """Who says it."""

    speak: Callable[[str], Sound]
    """Says a text, and raises UpstreamError."""
    service: Service
    voice: Voice
    cap_s: float | None
    """A sound as long as that, in seconds, ended before its text did."""
    leaves_out: bool = False
    """Whether a sound without a word in it is all that can be said: there was nothing to read."""


class Saying:
    """Knows how fast voices speak. One for the whole process; greenlets may share it."""

    def __init__(self) -> None:
        self._paces = Paces()

    def whole(self, text: str, by: Speaking) -> Sound:
        """All of a text: once more where its sound is too short, in parts where it was cut off.

        Args:
            text: of one piece.
            by: who says it.

        Raises:
            CutShortError: the end is missing, however often it is asked for.
            UpstreamError: as `speak`.
        """
        return self._whole(text, by, _DEEPEST)

    def _whole(self, text: str, by: Speaking, depth: int) -> Sound:
        sound = self._long_enough(text, by)
        if by.cap_s is None or sound.duration_s < by.cap_s:
            return sound
        parts = pieces(text, longest_s(text) * 0.5) if depth else []
        if len(parts) < 2:  # noqa: PLR2004 - nothing was cut
            raise CutShortError(by.service, sound.duration_s)
        log.warning("%s was cut off: the text is said in %d pieces", by.service.name, len(parts))
        said = [smooth(self._whole(it.text, by, depth - 1), it.pause_s) for it in parts]
        return Sound(said[0].rate, b"".join(it.samples for it in said))

    def _long_enough(self, text: str, by: Speaking) -> Sound:
        key = by.service, by.voice.id
        pace = self._paces.of(key, text)
        sound = by.speak(text)
        if by.leaves_out and sound.duration_s < SHORTEST_S:
            return silence(sound.rate, NOTHING_S)
        verdict = judged(text, sound.duration_s, pace)
        if verdict != Verdict.WHOLE:
            log.warning("%s made %.1f s of a text: once more", by.service.name, sound.duration_s)
            sound = max(sound, by.speak(text), key=lambda made: made.duration_s)
            verdict = judged(text, sound.duration_s, pace)
        if verdict == Verdict.CUT:
            raise CutShortError(by.service, sound.duration_s)
        self._paces.heard(key, text, sound.duration_s)
        return sound

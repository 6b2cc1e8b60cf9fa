"""One recording's way to a transcript, window by window."""

from __future__ import annotations

from images.parakeet.app.recogniser import Recogniser
from images.parakeet.app.windows import windows
from images.serving.heard import Chunk, Heard
from images.serving.recording import Recording
from images.serving.scheduling import Steps
from images.serving.segments import SegmentBuilder
from proxy_app.speech import Decoding, Segment, Token, Transcript

_SEEK_PER_S = 100
"""What OpenAI counts a segment's `seek` in: frames of 10 ms."""


class Writing:
    """What is said in a recording, as it becomes known.

    Args:
        recogniser: who listens.
        recording: what is transcribed; read a window at a time.
        window_s: the longest window, in seconds.
    """

    def __init__(self, recogniser: Recogniser, recording: Recording, window_s: float) -> None:
        self._recogniser = recogniser
        self._recording = recording
        self._window_s = window_s
        self._segments: list[Segment] = []

    def steps(self) -> Steps:
        """The work, a window at a time."""
        builder = SegmentBuilder(self._recogniser.encode)
        for window in windows(self._recording, self._window_s):
            start_s = window.start_s
            heard = self._recogniser.hear(self._recording.samples(start_s, window.end_s))
            tokens = tuple(
                Token(token.text, start_s + (token.start or 0.0), start_s + (token.end or 0.0))
                for token in heard
            )
            decoding = Decoding(seek=round(_SEEK_PER_S * start_s))
            self._segments += builder.add(Heard(Chunk(start_s, window.end_s), tokens, decoding))
            yield window.end_s
        self._segments += builder.flush()

    def transcript(self, language: str) -> Transcript:
        """The result, once all steps were made; nobody detects the language."""
        return Transcript(tuple(self._segments), self._recording.duration_s, language)

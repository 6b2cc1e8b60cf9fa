"""Word times by forced alignment: the port. alignment/choice.py says which model, if any."""

from __future__ import annotations

from typing import Protocol

from images.serving.heard import Heard
from images.serving.recording import Samples


class Aligner(Protocol):
    """A loaded model that finds where the words of a known text are. One thread at a time."""

    @property
    def name(self) -> str:
        """The model's name, as the answers show it."""

    def align(self, heard: Heard, samples: Samples) -> Heard:
        """The same words with better times, where it finds them; the others keep theirs.

        Args:
            heard: a chunk's words with Whisper's times.
            samples: the chunk's audio.
        """

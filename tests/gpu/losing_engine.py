"""The engine with real models that loses its GPU for real: `python -m tests.gpu.losing_engine`.

A request whose prompt is one of `tests.gpu.faults.LOSSES` has a kernel fail in the lane's thread,
just before Whisper does its work.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from images.serving.heard import Chunk, Heard
from images.serving.recording import Samples
from images.whisperx.app.engine import Engine
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.transcription import Wish
from images.whisperx.app.transcription.whisper import FasterWhisper
from tests.gpu.faults import lose
from tests.gpu.kinds import LOSSES


class Losing(FasterWhisper):
    """Whisper, with a word that loses the GPU."""

    def hear(
        self, chunks: Sequence[Chunk], samples: Sequence[Samples], language: str, wish: Wish
    ) -> list[Heard]:
        """See `Transcriber`."""
        if wish.prompt in LOSSES:
            lose(wish.prompt)
        return super().hear(chunks, samples, language, wish)


def make_engine(settings: EngineSettings) -> Engine:
    """An engine of this kind."""
    return Engine(settings, load_transcriber=Losing.load)


if __name__ == "__main__":
    from images.whisperx.app.__main__ import main

    sys.exit(main(os.environ, make_engine))

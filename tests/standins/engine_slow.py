"""A stand-in for long work: `python -m tests.standins.engine_slow` is the engine's process with a
Whisper that is still at work when the process is told to end, and little patience.
"""

from __future__ import annotations

import os
import sys
import threading

from images.whisperx.app.engine import Engine
from images.whisperx.app.settings import EngineSettings
from tests.standins.engine_models import StandInTranscriber, make_engine


def slow_engine(settings: EngineSettings) -> Engine:
    """An engine that finishes no request."""
    return make_engine(settings, StandInTranscriber(gate=threading.Event()))


if __name__ == "__main__":
    # uvicorn is in the engine's environment only.
    from images.serving import program
    from images.whisperx.app.__main__ import main

    program.STOP_WITHIN_S = 1
    sys.exit(main(os.environ, slow_engine))

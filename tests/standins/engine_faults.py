"""A stand-in for a GPU that fails: `python -m tests.standins.engine_faults` is the engine's process
with a Whisper that raises what CTranslate2 raises over a lost CUDA context.

No GPU can be had where the tests run; the text is that of CTranslate2's own macro (CUDA_CHECK) and
of cudaGetErrorString.
"""

from __future__ import annotations

import os
import sys

from images.whisperx.app.engine import Engine
from images.whisperx.app.settings import EngineSettings
from tests.standins.engine_models import StandInTranscriber, make_engine

LOST_CONTEXT = "CUDA failed with error an illegal memory access was encountered"


def failing_engine(settings: EngineSettings) -> Engine:
    """An engine whose first request loses the GPU."""
    return make_engine(settings, StandInTranscriber(error=RuntimeError(LOST_CONTEXT)))


if __name__ == "__main__":
    # uvicorn is in the engine's environment only; the tests import the rest of this file.
    from images.whisperx.app.__main__ import main

    sys.exit(main(os.environ, failing_engine))

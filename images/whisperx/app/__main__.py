"""Run the WhisperX server: `python -m images.whisperx.app`, from the repository's root."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from images.serving.program import USAGE_ERROR, listen, serve, set_up
from images.whisperx.app.alignment.models import chosen_models
from images.whisperx.app.device import choose_device
from images.whisperx.app.diarization import check_diarizer
from images.whisperx.app.engine import Engine
from images.whisperx.app.server import create_app
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.transcription.model_files import find_model
from proxy_app.settings import SettingError, load


def main(
    environ: Mapping[str, str], make_engine: Callable[[EngineSettings], Engine] = Engine
) -> int:
    """Serve until a signal ends it; the exit code is 2 where the settings cannot work."""
    set_up()
    try:
        settings = load(EngineSettings, environ, prefix="ENGINE_")
        find_model(settings)
        check_diarizer(settings)
        chosen_models(settings.align_models)
        if settings.device == "cuda":
            choose_device(settings)
        listener = listen(settings.host, settings.port, "ENGINE_")
        spool = _empty_spool(settings)
    except SettingError as error:
        sys.stderr.write(f"engine: {error}\n")
        return USAGE_ERROR
    # The voice detector's library would tell its maker that it runs.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if settings.threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    serve(create_app(make_engine(settings), spool), listener)
    return 0


def _empty_spool(settings: EngineSettings) -> Path:
    """A folder that is this process's own: it holds the port. What a killed one left is removed."""
    spool = (settings.spool_dir or Path(tempfile.gettempdir())) / f"engine-{settings.port}"
    try:
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise SettingError(f"ENGINE_SPOOL_DIR: {spool} cannot be made: {error.strerror}") from None
    return spool


if __name__ == "__main__":
    sys.exit(main(os.environ))

"""Run the WhisperX server: `python -m images.whisperx.app`, from the repository's root."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import uvicorn

from images.serving.memory import keep_memory_flat
from images.whisperx.app.alignment.models import chosen_models
from images.whisperx.app.device import choose_device
from images.whisperx.app.diarization import check_diarizer
from images.whisperx.app.engine import Engine
from images.whisperx.app.server import create_app
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.transcription.model_files import find_model
from proxy_app.settings import SettingError, load

_USAGE_ERROR = 2
_STOP_WITHIN_S = 5
"""How long the request at hand may still take when the process is told to end."""


def main(
    environ: Mapping[str, str], make_engine: Callable[[EngineSettings], Engine] = Engine
) -> int:
    """Serve until a signal ends it; the exit code is 2 where the settings cannot work."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        settings = load(EngineSettings, environ, prefix="ENGINE_")
        find_model(settings)
        check_diarizer(settings)
        chosen_models(settings.align_models)
        if settings.device == "cuda":
            choose_device(settings)
        listener = _listen(settings)
        spool = _empty_spool(settings)
    except SettingError as error:
        sys.stderr.write(f"engine: {error}\n")
        return _USAGE_ERROR
    # Read by torch's and CTranslate2's OpenMP when they are imported, which is later. Threads that
    # spin while they wait halve the speed on a machine that has something else to do.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The voice detector's library would tell its maker that it runs.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if settings.threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    keep_memory_flat()
    app = create_app(make_engine(settings), spool)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_WITHIN_S,
    )
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _listen(settings: EngineSettings) -> socket.socket:
    try:
        return socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
        )
    except OSError as error:
        raise SettingError(
            f"ENGINE_HOST={settings.host!r}, ENGINE_PORT={settings.port}: cannot listen there: "
            f"{error.strerror}"
        ) from None


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

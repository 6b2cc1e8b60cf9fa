"""Run the server: `python /opt/parakeet/app`, so that this folder is on the path, as main.py wants.

The folders images/ and proxy_app/ have to be on it too (PYTHONPATH).
"""

from __future__ import annotations

import importlib
import logging
import os
import sys

import uvicorn

from images.serving.memory import keep_memory_flat

_STOP_WITHIN_S = 5
"""How long the request at hand may still take when the process is told to end."""


def run() -> int:
    """Serve until a signal ends it; the exit code is 2 where the settings cannot work."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Threads that spin while they wait halve the speed on a machine that has something else to do.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory_flat()
    main = importlib.import_module("main")
    config = uvicorn.Config(
        main.app,
        host=main.settings.host,
        port=main.settings.port,
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_WITHIN_S,
    )
    # Bound before the app starts: whoever has the port has the spool.
    uvicorn.Server(config).run(sockets=[config.bind_socket()])
    return 0


if __name__ == "__main__":
    sys.exit(run())

"""A server's process: its log, its memory, its port, and its end."""

from __future__ import annotations

import logging
import os
import socket

import uvicorn
from fastapi import FastAPI

from images.serving.memory import keep_memory_flat
from proxy_app.settings import SettingError

USAGE_ERROR = 2
"""The exit code where the settings cannot work."""
STOP_WITHIN_S = 5
"""How long the request at hand may still take when the process is told to end."""


def set_up() -> None:
    """What has to be so before the first thread begins and before a model's library is imported."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Read by the libraries' OpenMP when they are imported. Threads that spin while they wait halve
    # the speed on a machine that has something else to do.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory_flat()


def listen(host: str, port: int, prefix: str) -> socket.socket:
    """Take the port; whoever has it has the spool.

    Raises:
        SettingError: it cannot be had; the message names the settings, which begin with `prefix`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingError(
            f"{prefix}HOST={host!r}, {prefix}PORT={port}: cannot listen there: {error.strerror}"
        ) from None


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Answer until a signal ends it."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_WITHIN_S,
    )
    uvicorn.Server(config).run(sockets=[listener])

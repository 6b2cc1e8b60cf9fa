"""A process that works until it is told to stop: the dispatcher is one, and the watch process."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Protocol

from proxy_app import log_lines
from proxy_app.config import Config, load_config, make_folders
from proxy_app.settings import SettingError
from proxy_app.store import SchemaError


class Work(Protocol):
    """What it does."""

    def run(self) -> None:
        """Do it until `stop`."""

    def stop(self, *_signal: object) -> None:
        """End soon; called as a signal's handler."""


def work(title: str, make: Callable[[Config], Work]) -> int:
    """Work until SIGTERM; returns the exit status, 2 for settings that cannot be used."""
    log_lines.begin(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        config = load_config(os.environ)
        make_folders(config)
        made = make(config)
        signal.signal(signal.SIGTERM, made.stop)
        signal.signal(signal.SIGINT, made.stop)
        made.run()
    except (SettingError, SchemaError) as error:
        print(f"{title} cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0

"""The supervisord that `up` starts, as its own and others' processes talk to it."""

from __future__ import annotations

import contextlib
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

ENGINE = "engine"
"""Its name for the embedded engine."""


@contextlib.contextmanager
def supervisor(socket: Path) -> Iterator[Any]:
    """A connection to a running supervisord; its methods are at supervisord.org/api.html."""
    transport = SupervisorTransport(None, None, f"unix://{socket}")
    with contextlib.closing(transport):
        yield xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)

"""An HTTP server that holds a build until a test lets it go on."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Gate:
    """An address that answers 503 until it is opened, then 200."""

    url: str
    _is_open: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        """Let go on who waits."""
        self._is_open.set()


@contextmanager
def closed_gate(address: str) -> Iterator[Gate]:
    """A gate on an address of this machine; nobody waits for it any more at the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if gate._is_open.is_set() else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((address, 0), Handler) as server:
        gate = Gate(f"http://{address}:{server.server_port}/{secrets.token_hex(4)}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield gate
        finally:
            gate.open()
            server.shutdown()
            thread.join()

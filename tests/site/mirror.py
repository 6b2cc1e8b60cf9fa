"""A package index that asks for a password and sends everybody on to the public one."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PUBLIC = "https://pypi.org"
USER, PASSWORD = "builds", "ohl8Oochie4Ahg1z"


@dataclass
class Mirror:
    """A running index."""

    url: str
    served: list[str] = field(default_factory=list)
    """The paths of requests that had the password."""

    @property
    def pip_conf(self) -> str:
        """What makes pip use it."""
        place = urlsplit(self.url)
        url = f"http://{USER}:{PASSWORD}@{place.netloc}/simple/"
        return f"[global]\nindex-url = {url}\ntrusted-host = {place.hostname}\n"


@contextmanager
def running_mirror(address: str) -> Iterator[Mirror]:
    """Serve at ADDRESS, on a free port."""
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            knows = self.headers["Authorization"] == expected
            self.send_response(302 if knows else 401)
            if knows:
                mirror.served.append(self.path)
                self.send_header("Location", PUBLIC + self.path)
            else:
                self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer((address, 0), Handler) as server:
        mirror = Mirror(f"http://{address}:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield mirror
        finally:
            server.shutdown()
            thread.join()

"""What stand-ins for HTTP services share: a real server, and what it has received."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import TracebackType
from typing import Any, Self

from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.formparser import MultiPartParser


class Received:
    """One request that arrived complete."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.body = body

    def form(self) -> tuple[MultiDict[str, str], bytes]:
        """The text fields and the file."""
        fields, files = self._parsed()
        return fields, files["file"].read()

    def files(self, name: str) -> list[bytes]:
        """The other files, in their order."""
        return [file.read() for file in self._parsed()[1].getlist(name)]

    def _parsed(self) -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
        boundary = self.headers["content-type"].partition("boundary=")[2].strip('"')
        parser = MultiPartParser(stream_factory=lambda *_about, **_more: BytesIO())
        return parser.parse(BytesIO(self.body), boundary.encode(), len(self.body))


class Served:
    """A real HTTP server on a free port of loopback, and how it is told to behave."""

    def __init__(self, handler: "type[Quiet]", port: int = 0) -> None:
        self.reset()
        self._server = _Server(("127.0.0.1", port), handler)
        self._server.standin = self
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def reset(self) -> None:
        """Behave well again, and forget."""
        self.behaviour = "ok"
        self.answer: Any = None
        self.headers: dict[str, str] = {}
        """More headers of every answer."""
        self.received: list[Received] = []
        self.hung_up = threading.Event()
        self.release = threading.Event()
        self.steps = threading.Semaphore(0)
        """Each release of it lets one piece of a stepwise stream out."""
        self.flooded = 0
        """Bytes that a flood could get rid of."""

    def behave(self, behaviour: str, answer: Any = None) -> None:  # noqa: ANN401 - any JSON
        """From now on; the handler says which behaviours there are."""
        self.behaviour = behaviour
        self.answer = answer

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve_forever(self) -> None:
        """Serve in this thread."""
        self._server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    standin: Any

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Clients that go away are part of the tests."""


class Quiet(BaseHTTPRequestHandler):
    """Answers for a stand-in, which is `server.standin`, and writes no log."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""

"""The client's end of the connection: bodies that stop, answers nobody waits for, early refusals.

Everything here needs the socket, which gunicorn puts into the environment; without it (tests, in
process) these functions do the plain thing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import gevent
from gevent.socket import wait_read
from werkzeug.wsgi import ClosingIterator

from proxy_app.api.errors import ApiError, BadRequestError, ClientGoneError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

T = TypeVar("T")

LINGER_S = 30.0
"""How long the rest of a refused upload is read and thrown away, so that its sender, busy sending,
gets to read why; nginx's lingering_time."""
_LINGER_SILENCE_S = 5.0
_PIECE = 256 * 1024


class Body:
    """A request's body that knows how far it was read."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._stream = environ["wsgi.input"]
        chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        self._remaining = None if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        self.complete = self._remaining == 0
        """All of it was read: the connection can take another request."""
        self.broken = False
        """There is no point in reading on."""

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; b"" at the end.

        Raises:
            ClientGoneError: the client hung up before the end.
            ApiError: it fell silent (408), or the framing is broken (400).
        """
        if self.complete or self.broken:
            return b""
        try:
            data = self._read(_PIECE if size < 0 else size)
        except ApiError:
            self.broken = True
            raise
        if self._remaining is None:
            self.complete = not data
        else:
            self._remaining -= len(data)
            self.complete = self._remaining <= 0
        return data

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._stream.read(size)
        except TimeoutError:
            raise ApiError(
                "The upload stopped: no byte came for too long.", status=408, code="upload_timeout"
            ) from None
        except ConnectionError:
            raise ClientGoneError from None
        except OSError:  # gunicorn's own errors are of this kind
            raise BadRequestError("The request's body is broken.", code="broken_body") from None
        if not data and self._remaining is not None:
            raise ClientGoneError
        return data


class ConnectionCare:
    """WSGI middleware: times out silent uploads, and lingers after an early refusal."""

    def __init__(self, app: WSGIApplication, *, body_timeout_s: float) -> None:
        self._app = app
        self._body_timeout_s = body_timeout_s

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        client = client_socket(environ)
        if client is None:
            return self._app(environ, start_response)
        body = environ["wsgi.input"] = Body(environ)
        client.settimeout(self._body_timeout_s)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:  # noqa: ANN401
            if not body.complete:
                # gunicorn drops a Connection header of the application's, and asks its own
                # response object, whose method this is, whether the connection is to be closed.
                start_response.__self__.force_close()  # type: ignore[attr-defined]
            return start_response(status, headers, *rest)

        answer = self._app(environ, start)
        return ClosingIterator(answer, [lambda: _linger(client, body)])


def client_socket(environ: WSGIEnvironment) -> socket.socket | None:
    """The client's socket, where a real server is in front."""
    return environ.get("gunicorn.socket")


def while_connected(environ: WSGIEnvironment, work: Callable[[], T]) -> T:
    """Do `work`, and stop it when the client hangs up, running its `finally` blocks.

    Raises:
        ClientGoneError: it hung up; the work has ended.
    """
    client = client_socket(environ)
    if client is None:
        return work()
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - raised again, in the greenlet that waits
            errors.append(error)

    worker = gevent.spawn(run)
    watcher = gevent.spawn(_wait_for_hang_up, client)
    both: list[gevent.Greenlet[..., None]] = [worker, watcher]
    try:
        gevent.wait(both, count=1)
        if not worker.ready():
            raise ClientGoneError
    finally:
        gevent.killall(both)
    if errors:
        raise errors[0]
    return results[0]


def _wait_for_hang_up(client: socket.socket) -> None:
    """Return when the client has closed its side."""
    while True:
        wait_read(client.fileno())
        try:
            if client.recv(1, socket.MSG_PEEK) == b"":
                return
        except OSError:
            return
        # The next request is already here (pipelining): the socket stays readable, so look again
        # from time to time only.
        gevent.sleep(0.5)


def _linger(client: socket.socket, body: Body) -> None:
    """Throw the rest of the body away: closing with unread data would destroy the answer."""
    if body.complete or body.broken:
        return
    try:
        client.shutdown(socket.SHUT_WR)
        client.settimeout(_LINGER_SILENCE_S)
        until = time.monotonic() + LINGER_S
        while time.monotonic() < until and client.recv(_PIECE):
            gevent.sleep(0)
    except OSError:
        pass

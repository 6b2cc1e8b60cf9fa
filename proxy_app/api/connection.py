"""The client's end of the connection: bodies that stop, early refusals, slow readers.

Everything here needs the socket, which gunicorn puts into the environment; without it (tests, in
process) these functions do the plain thing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
from gunicorn.http.errors import ParseException

from proxy_app.api.linger import linger
from proxy_app.api.taking import Taker
from proxy_app.errors import ApiError, BadRequestError, ClientGoneError
from proxy_app.telemetry.account import KEY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from proxy_app.telemetry import Account

ANSWER = "speech.answer"
"""Where an Answer is in a request's environment."""
_PIECE = 256 * 1024


class Body:
    """A request's body that knows how far it was read.

    Args:
        environ: the request's.
        timeout_s: how long it may take on top of what `bytes_per_s` allows.
        bytes_per_s: how much must come per second on average.
    """

    def __init__(self, environ: WSGIEnvironment, timeout_s: float, bytes_per_s: float) -> None:
        self._stream = environ["wsgi.input"]
        chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        self._remaining = None if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        self.complete = self._remaining == 0
        """All of it was read: the connection can take another request."""
        self._broken = False
        self.received = 0
        """Bytes."""
        self.seconds = 0.0
        """Spent waiting for them."""
        self._bytes_per_s = bytes_per_s
        self._due = time.monotonic() + timeout_s

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; b"" at the end.

        Raises:
            ClientGoneError: the client hung up before the end.
            ApiError: it fell silent or is too slow (408), or the framing is broken (400).
        """
        if self.complete or self._broken:
            return b""
        began = time.monotonic()
        try:
            data = self._read(_PIECE if size < 0 else size)
        except ApiError:
            self._broken = True
            raise
        finally:
            self.seconds += time.monotonic() - began
        self.received += len(data)
        self._due += len(data) / self._bytes_per_s
        if self._remaining is None:
            self.complete = not data
        else:
            self._remaining -= len(data)
            self.complete = self._remaining <= 0
        return data

    def _read(self, size: int) -> bytes:
        # The read ends when all of `size` is there, so the time for all of it is given.
        left = self._due + size / self._bytes_per_s - time.monotonic()
        slow = gevent.Timeout(max(0.0, left))
        try:
            with slow:
                data: bytes = self._stream.read(size)
        except TimeoutError:
            raise _too_slow("The upload stopped: no byte came for too long.") from None
        except gevent.Timeout as timeout:
            if timeout is not slow:
                raise
            raise _too_slow("The upload is too slow.") from None
        except ConnectionError:
            raise ClientGoneError from None
        except (OSError, ParseException):  # gunicorn's, for a body that ends early or is no chunks
            raise BadRequestError("The request's body is broken.", code="broken_body") from None
        if not data and self._remaining is not None:
            raise ClientGoneError
        return data


def _too_slow(message: str) -> ApiError:
    return ApiError(message, status=408, code="upload_timeout")


class Answer:
    """An answer on its way, of which it is known whether the client is to take a piece.

    Args:
        pieces: what the application sends.
        body: the request's.
        client: gets it.
        account: is told what it costs, where there is one.
    """

    def __init__(
        self, pieces: Iterable[bytes], body: Body, client: socket.socket, account: Account | None
    ) -> None:
        self._pieces = pieces
        self._left = iter(pieces)
        self._body = body
        self._client = client
        self._account = account
        self._has_ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._account is None:
            return next(self._left)
        self._account.sends(now=False)
        piece = next(self._left)
        self._account.sends(now=True)
        return piece

    def end(self) -> None:
        """End what is done for it; harmless to repeat."""
        if self._has_ended:
            return
        self._has_ended = True
        if hasattr(self._pieces, "close"):
            self._pieces.close()

    def close(self) -> None:
        """The same, and read what the client still sends."""
        self.end()
        if not self._body.complete:
            linger(self._client)


class ConnectionCare:
    """WSGI middleware: ends what nobody sends or takes any more, and lingers after a refusal."""

    def __init__(
        self, app: WSGIApplication, *, body_timeout_s: float, body_bytes_per_s: float
    ) -> None:
        self._app = app
        self._body_timeout_s = body_timeout_s
        self._body_bytes_per_s = body_bytes_per_s

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        client = client_socket(environ)
        if client is None:
            return self._app(environ, start_response)
        body = Body(environ, self._body_timeout_s, self._body_bytes_per_s)
        environ["wsgi.input"] = body
        client.settimeout(self._body_timeout_s)
        # The method of gunicorn's own response object.
        response: Any = start_response.__self__  # type: ignore[attr-defined]
        response.sock = Taker(client)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:  # noqa: ANN401
            if not body.complete:
                # gunicorn drops a Connection header of the application's, and asks the response
                # whether the connection is to be closed.
                response.force_close()
            return start_response(status, headers, *rest)

        answer = Answer(self._app(environ, start), body, client, environ.get(KEY))
        environ[ANSWER] = answer
        return answer


def client_socket(environ: WSGIEnvironment) -> socket.socket | None:
    """The client's socket, where a real server is in front."""
    return environ.get("gunicorn.socket")


def cut_off(environ: WSGIEnvironment) -> None:
    """Close a connection in the middle of an answer, so that its reader sees that it is no whole.

    What is written to it afterwards gets lost.
    """
    client = client_socket(environ)
    if client is not None:
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

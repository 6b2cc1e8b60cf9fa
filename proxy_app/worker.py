"""gunicorn's gevent worker, whose refusals look like all other errors of the gateway."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import secrets
import socket
import ssl
import time
from pathlib import Path
from types import FrameType
from typing import Any

import gevent
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.workers.ggevent import GeventWorker

from proxy_app.api.linger import linger

_KINDS = (
    (errors.LimitRequestLine, "414 URI Too Long", "The request's first line is too long."),
    (errors.ExpectationFailed, "417 Expectation Failed", "Only 100-continue may be expected."),
    (
        errors.LimitRequestHeaders,
        "431 Request Header Fields Too Large",
        "The request's headers are too many or too long.",
    ),
    (
        errors.UnsupportedTransferCoding,
        "501 Not Implemented",
        "The only transfer coding that is known here is chunked.",
    ),
    (
        errors.ParseException,
        "400 Bad Request",
        "The request is no valid HTTP: its first line, its headers or the length of its body.",
    ),
)
_NOT_THE_CLIENTS = (
    errors.ConfigurationProblem,
    errors.InvalidResponseHeader,  # type: ignore[attr-defined] # newer than gunicorn's types
    errors.InvalidResponseHeaderName,  # type: ignore[attr-defined]
)

_LAST_S = 2.0
"""So long before gunicorn kills a worker it ends by itself."""


class Worker(GeventWorker):
    """Answers what is no usable HTTP, and never reaches the application, as JSON."""

    _told_at = 0.0
    """When it was told to stop."""

    def load_wsgi(self) -> None:
        """As gunicorn, and count together with the other workers."""
        from proxy_app.telemetry import shared  # noqa: PLC0415 - only once gevent has patched

        shared.join(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        super().load_wsgi()
        # The application stays: to look through it again and again for garbage costs a request
        # now and then tens of milliseconds.
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Streams of jobs have no end of their own that a stop could wait for."""
        from proxy_app.jobs.watching import Watch  # noqa: PLC0415 - only once gevent has patched

        Watch.all_end = True
        self._told_at = time.monotonic()
        super().handle_exit(sig, frame)

    def run(self) -> None:
        """As gunicorn, and then wait for those who follow work of this worker from another one."""
        super().run()
        from proxy_app.gateway import EXTENSION  # noqa: PLC0415 - only once gevent has patched

        app: Any = self.wsgi
        app.extensions[EXTENSION].running.drain(
            self._told_at + self.cfg.graceful_timeout - _LAST_S, meanwhile=self.notify
        )

    def handle(self, listener: Any, client: Any, addr: Any) -> None:  # noqa: ANN401 - as below
        """As gunicorn, but who says nothing, or no TLS where that is spoken, does not stay."""
        if isinstance(client, ssl.SSLSocket):
            try:
                with gevent.Timeout(self.cfg.keepalive, TimeoutError):
                    client.do_handshake()
            except OSError as error:
                self.log.debug("No TLS handshake with %s: %s", addr, error)
                client.close()
                return
        super().handle(listener, client, addr)

    def handle_request(
        self,
        listener_name: str | int | tuple[str, int],
        req: Request,
        sock: Any,  # noqa: ANN401 - gevent's socket, which it does not name
        addr: str | int | tuple[str, int],
    ) -> bool:
        """As gunicorn, but a client that takes nothing of its answer is one line in the log."""
        try:
            return super().handle_request(listener_name, req, sock, addr)
        except TimeoutError:
            self.log.warning("%s took nothing of its answer for too long and is dropped", addr)
            raise StopIteration from None  # gunicorn's sign to close the connection

    def handle_error(
        self,
        req: Request | None,
        client: socket.socket,
        addr: str | int | tuple[str, int],
        exc: BaseException,
    ) -> None:
        """Say what is wrong with a request; gunicorn closes the connection afterwards."""
        if not isinstance(exc, errors.ParseException) or isinstance(exc, _NOT_THE_CLIENTS):
            super().handle_error(req, client, addr, exc)
            return
        status, message = next((s, message) for kind, s, message in _KINDS if isinstance(exc, kind))
        request_id = secrets.token_hex(8)
        # Not the error's text, which quotes the client.
        self.log.warning("%s to %s: %s id=%s", status, addr, type(exc).__name__, request_id)
        with contextlib.suppress(OSError):
            client.sendall(_answer(status, message, request_id))
        linger(client)


def _answer(status: str, message: str, request_id: str) -> bytes:
    server_error = status.startswith("5")
    error: dict[str, Any] = {
        "message": message,
        "type": "server_error" if server_error else "invalid_request_error",
        "param": None,
        "code": "invalid_http",
    }
    body = json.dumps({"error": error})
    head = (
        f"HTTP/1.1 {status}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        f"x-request-id: {request_id}",
    )
    return "\r\n".join((*head, "", body)).encode()

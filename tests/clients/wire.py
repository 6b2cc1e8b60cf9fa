"""The wire between clients and the gateway: it hands bytes on as they are, and keeps a copy."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from types import TracebackType
from typing import Any, Self

from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.formparser import MultiPartParser

_PIECE = 65536


@dataclass(frozen=True)
class Exchange:
    """A request and its answer."""

    method: str
    path: str
    headers: Message
    body: bytes
    status: int
    answer_headers: Message
    answer: bytes

    @property
    def kind(self) -> str:
        """The answer's content type, without its parameters."""
        return self.answer_headers.get_content_type()

    @property
    def asked(self) -> dict[str, Any]:
        """A request's JSON."""
        asked: dict[str, Any] = json.loads(self.body)
        return asked

    def form(self) -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
        """A request's fields and files."""
        boundary = str(self.headers.get_param("boundary"))
        parser = MultiPartParser(stream_factory=lambda *_about, **_more: io.BytesIO())
        return parser.parse(io.BytesIO(self.body), boundary.encode(), len(self.body))

    def json(self) -> Any:  # noqa: ANN401 - any JSON
        return json.loads(self.answer)

    def events(self) -> list[dict[str, Any]]:
        """The data of an answer's events, but for OpenAI's mark of the end."""
        lines = self.answer.decode().splitlines()
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(it) for it in data if it != "[DONE]"]


@dataclass
class _Connection:
    """What went over one connection."""

    sent: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)

    def exchanges(self) -> Iterator[Exchange]:
        """Its requests in their order; the last one may have no answer, and is left out."""
        sent, answered = io.BytesIO(self.sent), io.BytesIO(self.answered)
        while line := sent.readline().decode():
            method, path, _version = line.split()
            headers = http.client.parse_headers(sent)
            body = _body(sent, headers)
            answer = http.client.HTTPResponse(_Read(answered), method=method)  # type: ignore[arg-type]
            try:
                answer.begin()
                content = answer.read()
            except http.client.IncompleteRead as broken:
                content = broken.partial
            except http.client.HTTPException:
                return
            yield Exchange(method, path, headers, body, answer.status, answer.headers, content)


class _Read:
    """As much of a socket as http.client reads from."""

    def __init__(self, data: io.BytesIO) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BufferedIOBase:
        return _Kept(self._data)


class _Kept(io.BufferedReader):
    """Reads on in the same bytes; http.client closes it after each answer."""

    def __init__(self, data: io.BytesIO) -> None:
        super().__init__(data, 1)
        self._bytes = data

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._bytes.readline(size)

    def read(self, size: int | None = -1, /) -> bytes:
        return self._bytes.read(size)

    def close(self) -> None:
        """Leave the bytes open."""


def _body(sent: io.BytesIO, headers: Message) -> bytes:
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        return sent.read(int(headers.get("Content-Length", 0)))
    body = b""
    while size := int(sent.readline().partition(b";")[0] or b"0", 16):
        body += sent.read(size)
        sent.readline()
    sent.readline()
    return body


class Wire:
    """A port of loopback that leads to another one."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._connections: list[_Connection] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def forget(self) -> None:
        """Keep nothing of what was said until now."""
        for connection in self._connections:
            connection.sent.clear()
            connection.answered.clear()

    def exchanges(self) -> list[Exchange]:
        """All that was asked and answered since, connection by connection."""
        return [exchange for it in list(self._connections) for exchange in it.exchanges()]

    def asked(self, path: str) -> list[Exchange]:
        """Those of one address, without its query."""
        return [it for it in self.exchanges() if it.path.partition("?")[0] == path]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._server.accept()
                connection = _Connection()
                self._connections.append(connection)
                _in_a_thread(self._serve, client, connection)

    def _serve(self, client: socket.socket, connection: _Connection) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asking = _in_a_thread(_hand_on, client, server, connection.sent)
            _hand_on(server, client, connection.answered)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RD)  # the server says no more: neither may the client
            asking.join()


def _in_a_thread(work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def _hand_on(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    """Until one side closes; the other one is told."""
    with contextlib.suppress(OSError):
        while data := source.recv(_PIECE):
            kept += data  # before it is handed on: who has it can ask for it
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)

"""A client that costs little: requests made once, sent as bytes over plain sockets."""

from __future__ import annotations

import json
import re
import secrets
import socket
import time
from collections.abc import Iterator

from proxy_app.audio.wav import header
from tests.api.recordings import canonical_wav

PATH = "/v1/audio/transcriptions"
CHAT = "/v1/chat/completions"
GIGABYTE = 1_000_000_000
_PATIENCE_S = 600.0
_BOUNDARY = "0740346b4357ebe617049ce95f4db03e"
"""As long as the clients' own."""
_UNIQUE_BYTES = 16
"""The last samples."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SENT_AT = re.compile(rb'"content": ?"(\d+)"')


class AnswerError(Exception):
    """Another answer than was expected, or none."""


def _message(path: str, kind: str, body: bytes, more: dict[str, str], length: int) -> bytes:
    headers = {"Host": "127.0.0.1", "Content-Type": kind, "Content-Length": str(length), **more}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _form(audio: bytes) -> tuple[bytes, bytes]:
    """What goes before and after the samples."""
    disposition = "Content-Disposition: form-data; name="
    before = (
        f'--{_BOUNDARY}\r\n{disposition}"model"\r\n\r\nwhisper-1\r\n'
        f'--{_BOUNDARY}\r\n{disposition}"file"; filename="a.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    return before.encode() + audio, f"\r\n--{_BOUNDARY}--\r\n".encode()


class Uploads:
    """Requests with five seconds of sound, 160 KB, of which no two are the same.

    The gateway would work only once on one that is.
    """

    def __init__(self, headers: dict[str, str]) -> None:
        before, after = _form(canonical_wav(5))
        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        length = len(before) + len(after)
        whole = _message(PATH, kind, before + after, headers, length)
        samples = len(whole) - len(after) - _UNIQUE_BYTES
        self._before, self._after = whole[:samples], whole[samples + _UNIQUE_BYTES :]

    def one(self) -> bytes:
        """Another one."""
        return b"".join((self._before, secrets.token_bytes(_UNIQUE_BYTES), self._after))


def large_upload(headers: dict[str, str]) -> Iterator[bytes]:
    """A request with a WAV of 1 GB, in pieces: nine hours of silence that say so truly."""
    before, after = _form(header(GIGABYTE))
    length = len(before) + GIGABYTE + len(after)
    kind = f"multipart/form-data; boundary={_BOUNDARY}"
    yield _message(PATH, kind, before, headers, length)
    piece = bytes(1_000_000)
    for _ in range(GIGABYTE // len(piece)):
        yield piece
    yield after


def chat(headers: dict[str, str], *, paced: bool) -> bytes:
    """A request for a stream of 1,000 events."""
    text = "paced" if paced else "at once"
    asked = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": text}]}
    body = json.dumps(asked).encode()
    return _message(CHAT, "application/json", body, headers, len(body))


class Connection:
    """A kept connection.

    Args:
        port: of this machine.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_about: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """As a file's."""
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            OSError: the server has gone.
        """
        self._socket.sendall(data)

    def ask(self, request: bytes) -> float:
        """Seconds that an upload and its answer took.

        Raises:
            AnswerError: it is no transcript.
        """
        began = time.perf_counter()
        self.send(request)
        answer = self.answer()
        took_s = time.perf_counter() - began
        if b"Good morning" not in answer:
            raise AnswerError(repr(answer[:500]))
        return took_s

    def answer(self) -> bytes:
        """Read an answer.

        Raises:
            AnswerError: it is an error, or breaks off.
        """
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more(data)
        head, body = data[:end], data[end + 4 :]
        if not head.startswith(b"HTTP/1.1 200"):
            raise AnswerError(repr(data[:500]))
        length = _LENGTH.search(head)
        while not (len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")):
            body += self._more(body)
        return body

    def delays(self, request: bytes) -> list[float]:
        """Seconds between the sending of each event of a chat and its coming.

        Raises:
            AnswerError: it is an error, or breaks off.
        """
        self.send(request)
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more(data)
        if not data.startswith(b"HTTP/1.1 200"):
            raise AnswerError(repr(data[:500]))
        chunks, text = _Chunks(), b""
        found: list[float] = []
        data = data[end + 4 :]
        while True:
            now = time.monotonic_ns()
            text += chunks.content(data)
            last = 0
            for event in _SENT_AT.finditer(text):
                found.append((now - int(event[1])) / 1e9)
                last = event.end()
            text = text[last:]
            if chunks.are_over:
                return found
            data = self._more(text)

    def _more(self, before: bytes) -> bytes:
        data = self._socket.recv(1024 * 1024)
        if not data:
            raise AnswerError(f"broken off after {before[-200:]!r}")
        return data


class _Chunks:
    """A chunked body, of which anything may have come."""

    def __init__(self) -> None:
        self._raw = b""
        self._left = 0
        """Of the chunk that is coming, with the line break behind it."""
        self.are_over = False

    def content(self, data: bytes) -> bytes:
        """What more has come."""
        self._raw += data
        found = b""
        while self._raw:
            if self._left == 0:
                size, line, rest = self._raw.partition(b"\r\n")
                if not line:
                    break
                self._raw, self._left = rest, int(size, 16) + 2
                self.are_over = self._left == 2  # a chunk of nothing
            piece = self._raw[: self._left]
            self._raw = self._raw[self._left :]
            # The line break is not a part of it.
            found += piece[: max(0, self._left - 2)]
            self._left -= len(piece)
        return found

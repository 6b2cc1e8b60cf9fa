"""A stand-in for all services at once that costs next to nothing, for measurements: it looks at no
upload, says what the WhisperX server's stand-in says, and streams 1,000 events of a chat.

    python -m tests.standins.upstream_light PORT

A chat whose text has the word `paced` gets an event a millisecond, any other as fast as it goes.
Each event's text is the moment at which it was sent, in ns of time.monotonic_ns().
"""

import asyncio
import json
import re
import sys
import time

from tests.standins.upstream_whisperx import HEALTHY, transcription

EVENTS = 1000
PACE_S = 0.001
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_MODELS = {"object": "list", "data": [{"id": "gpt-4o", "object": "model", "owned_by": "x"}]}
_SSE = (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n")  # fmt: skip


def _whole(answer: object) -> bytes:
    body = json.dumps(answer).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


_ANSWERS = {b"/health": _whole(HEALTHY), b"/v1/models": _whole(_MODELS)}
_TRANSCRIPT = _whole(transcription())


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._head = bytearray()
        self._path: bytes | None = None
        """Of a request whose body is coming."""
        self._left: int | None = 0
        """Bytes of it; None where it comes in chunks."""
        self._end = b""
        """Of the body: of chunks the last bytes tell that it is over."""

    def data_received(self, data: bytes) -> None:
        if self._path is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = bytes(self._head[:end]), bytes(self._head[end + 4 :])
            self._head.clear()
            self._path, self._end = head.split(b" ", 2)[1], b""
            length = _LENGTH.search(head)
            self._left = None if _CHUNKED.search(head) else int(length[1]) if length else 0
        self._end = (self._end + data)[-4096:]
        if self._left is not None:
            self._left -= len(data)
        if self._end.endswith(b"0\r\n\r\n") if self._left is None else self._left <= 0:
            path, self._path = self._path, None
            self._answer(path)

    def _answer(self, path: bytes) -> None:
        if path.startswith(b"/v1/chat/"):
            self._streaming = asyncio.ensure_future(self._stream(paced=b"paced" in self._end))
        else:
            self._transport.write(_ANSWERS.get(path, _TRANSCRIPT))

    async def _stream(self, *, paced: bool) -> None:
        self._transport.write(_SSE)
        due = time.monotonic()
        for _ in range(EVENTS):
            due += PACE_S
            await asyncio.sleep(max(0.0, due - time.monotonic()) if paced else 0)
            self._event(_delta(str(time.monotonic_ns())))
        self._event(b"[DONE]")
        self._transport.write(b"0\r\n\r\n")

    def _event(self, data: bytes) -> None:
        self._transport.write(b"%x\r\ndata: %s\n\n\r\n" % (len(data) + 8, data))


def _delta(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    about = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000}
    return json.dumps({**about, "model": "gpt-4o", "choices": [choice]}).encode()


async def main(port: int) -> None:
    """Serve until told to stop."""
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

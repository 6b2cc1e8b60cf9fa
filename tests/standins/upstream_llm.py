"""A stand-in for an LLM server, which needs a GPU: it speaks OpenAI's API over real HTTP, repeats
what it was asked, and fails as it was told to fail.

In a test: `with StandInLLM() as llm: llm.behave("hang")`. Alone: `python -m
tests.standins.upstream_llm PORT [BEHAVIOUR]`.
"""

import contextlib
import json
import select
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

from tests.standins.served import Quiet, Received, Served

NAME = "stand-in/echo-1"
CREATED = 1_700_000_000


def said(asked: dict[str, Any]) -> str:
    """The last thing that was said to it, which it says again."""
    if "messages" in asked:
        return str(asked["messages"][-1]["content"])
    return str(asked.get("prompt", asked.get("input", "")))


def usage(text: str) -> dict[str, int]:
    words = len(text.split())
    return {"prompt_tokens": words, "completion_tokens": words, "total_tokens": 2 * words}


def completion(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    """The whole answer, as OpenAI has it."""
    text, model = said(asked), asked.get("model", NAME)
    about = {"created": CREATED, "model": model}
    if path == "/v1/embeddings":
        inputs = asked["input"] if isinstance(asked.get("input"), list) else [text]
        data = [
            {"object": "embedding", "index": index, "embedding": [float(len(one)), 0.5, -1.0]}
            for index, one in enumerate(inputs)
        ]
        return {"object": "list", "model": model, "data": data, "usage": usage(text)}
    if path == "/v1/responses":
        content = [{"type": "output_text", "text": text, "annotations": []}]
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": CREATED,
            "model": model,
            "status": "completed",
            "output": [{**message, "content": content}],
            "tools": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
        }
    if path == "/v1/completions":
        choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
        return {"id": "cmpl-1", "object": "text_completion", **about, "choices": [choice],
                "usage": usage(text)}  # fmt: skip
    spoken = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": spoken, "finish_reason": "stop", "logprobs": None}
    return {"id": "chatcmpl-1", "object": "chat.completion", **about, "choices": [choice],
            "usage": usage(text)}  # fmt: skip


def events(path: str, asked: dict[str, Any]) -> list[bytes]:
    """The same as a stream, a word at a time, with what servers put between events."""
    words = said(asked).split()
    deltas = [word if first else f" {word}" for first, word in zip([True, *[False] * len(words)],
              words, strict=False)]  # fmt: skip
    if path == "/v1/responses":
        kind = "response.output_text.delta"
        about = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
        found = [
            {"type": kind, "delta": delta, "sequence_number": number, **about}
            for number, delta in enumerate(deltas)
        ]
        done = {"type": "response.completed", "sequence_number": len(deltas)}
        found.append(done | {"response": completion(path, asked)})
        return [f"event: {it['type']}\ndata: {json.dumps(it)}\n\n".encode() for it in found]
    about = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED}
    about |= {"model": asked.get("model", NAME)}
    lines = [b": stand-in\n\n"]
    for delta in deltas:
        choice = {"index": 0, "delta": {"content": delta}, "finish_reason": None}
        lines.append(b"data: " + json.dumps({**about, "choices": [choice]}).encode() + b"\n\n")
    return [*lines, b"data: [DONE]\n\n"]


class StandInLLM(Served):
    """A server of language models."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(_Handler, port)

    def reset(self) -> None:
        """Behave well again, and forget."""
        super().reset()
        self.models: tuple[int, Any] = (200, [NAME])
        """The status of /v1/models, and what is listed."""
        self.asked_for_models = 0
        self.is_blind = False
        """Whether it answers without having read what it was asked."""

    def behave(self, behaviour: str, answer: Any = None) -> None:  # noqa: ANN401 - any JSON
        """From now on: ok, a status such as "500", hang, silent, half, stall, reset, cut,
        stepwise, closing, flood, redirect. `answer`: JSON or bytes, for streams a list of bytes.
        """
        super().behave(behaviour, answer)


class _Handler(Quiet):
    @property
    def standin(self) -> StandInLLM:
        standin: StandInLLM = self.server.standin
        return standin

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """List the models."""
        self.standin.asked_for_models += 1
        status, names = self.standin.models
        about = {"object": "model", "created": CREATED, "owned_by": "stand-in"}
        data = [{"id": name, **about} for name in names]
        self._send(status if self.path == "/v1/models" else 404, {"object": "list", "data": data})

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        """Take a request, then do as told."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.standin.received.append(Received(self.path, headers, body))
        behaviour = self.standin.behaviour
        if behaviour.isdecimal():
            self._send(int(behaviour), self.standin.answer)
        elif behaviour != "ok":
            self.close_connection = True
            getattr(self, f"_{behaviour}")()
        elif not self.standin.is_blind and self._asked().get("stream"):
            self._stream(iter(self._pieces()))
        else:
            self._send(200, self.standin.answer or completion(self.path, self._asked()))

    def _asked(self) -> dict[str, Any]:
        asked: dict[str, Any] = json.loads(self.standin.received[-1].body)
        return asked

    def _pieces(self) -> list[bytes]:
        return self.standin.answer or events(self.path, self._asked())

    def _send(self, status: int, answer: Any) -> None:  # noqa: ANN401 - any JSON
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        headers = {"Content-Type": "application/json"} | self.standin.headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _head(self, *headers: tuple[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        for name, value in (*headers, *self.standin.headers.items()):
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, pieces: Iterator[bytes], *, cut: bool = False) -> None:
        self._head(("Transfer-Encoding", "chunked"))
        for piece in pieces:
            self.connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        if not cut:
            self.connection.sendall(b"0\r\n\r\n")

    def _closing(self) -> None:
        """A stream that ends with its connection, as HTTP/1.0 has it."""
        self._head(("Connection", "close"))
        for piece in self._pieces():
            self.connection.sendall(piece)

    def _cut(self) -> None:
        """A stream that breaks off in the middle."""
        self._stream(iter(self._pieces()), cut=True)

    def _stepwise(self) -> None:
        """A stream whose pieces wait for the test, or for a client that hangs up."""

        def pieces() -> Iterator[bytes]:
            for piece in self._pieces():
                while not self.standin.steps.acquire(timeout=0.02):
                    if self._is_alone():
                        raise ConnectionResetError
                yield piece

        self._stream(pieces())

    def _flood(self) -> None:
        """Events without end, as fast as they are taken."""
        line = b"data: " + b"x" * 100_000 + b"\n\n"

        def pieces() -> Iterator[bytes]:
            while not self.standin.release.is_set():
                yield line
                self.standin.flooded += len(line)

        with contextlib.suppress(OSError):
            self._stream(pieces())
        self.standin.hung_up.set()

    def _hang(self) -> None:
        """Say nothing until told to stop, or until the client hangs up."""
        while not self.standin.release.wait(0.02):
            if self._is_alone():
                return

    def _silent(self) -> None:
        """Begin a stream, and say nothing more."""
        self._head(("Transfer-Encoding", "chunked"))
        self.connection.sendall(b"9\r\n: hello\n\n\r\n")
        self._hang()

    def _half(self) -> None:
        """An answer of which half comes; a large one, where `answer` is bytes."""
        body = self.standin.answer or json.dumps(completion(self.path, self._asked())).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])

    def _stall(self) -> None:
        """An answer of which half comes, and then nothing more."""
        self._half()
        self._hang()

    def _redirect(self) -> None:
        self.send_response(302)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _reset(self) -> None:
        """Close so that the kernel sends a reset instead of an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _is_alone(self) -> bool:
        """Whether the client has hung up."""
        if select.select([self.connection], [], [], 0)[0]:
            self.standin.hung_up.set()
            return True
        return False


if __name__ == "__main__":
    print(f"stand-in on port {sys.argv[1]}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        alone = StandInLLM(int(sys.argv[1]))
        alone.behave(*sys.argv[2:3] or ["ok"])
        alone.serve_forever()

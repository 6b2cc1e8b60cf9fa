"""A stand-in for the WhisperX server, which needs models: it speaks its protocol and says what it
was told to say, or fails as it was told to fail.

In a test: `with StandIn() as standin: standin.behave("hang")`. Alone, for measurements and to be
killed: `python -m tests.standins.upstream_whisperx PORT [BEHAVIOUR]`.
"""

import contextlib
import json
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any

from tests.standins.served import Quiet, Received, Served

LARGEST_KEPT = 8 * 1024 * 1024
CONVERSATION = {
    "duration": 999.0,  # wrong on purpose: the gateway measures for itself
    "language": "en",
    "speakers_detected": 2,
    "segments": [
        {"start_ms": 690, "end_ms": 1120, "speaker": "Speaker_0", "text": "Hello."},
        {"start_ms": 1500, "end_ms": 2900, "speaker": "Speaker_1", "text": "Good morning, all."},
    ],
    "models": {"transcription": "stand-in", "diarization": "stand-in"},
}
WORDS = (("Hello.", 0.69, 1.12), ("Good", 1.5, 1.8), ("morning,", 1.8, 2.4), ("all.", 2.4, 2.9))
PROGRESS = {"type": "progress", "stage": "waiting", "done_s": 0.0, "total_s": 5.0}
HEALTHY = {
    "status": "ok",
    "whisper_loaded": True,
    "diarizer_loaded": True,
    "alignment": "none",
    "model": "tiny.en",
    "diarizer": "senko",
    "device": "cpu",
    "uptime_s": 3725.0,
    "in_flight": 0,
    "progress": None,
    "detail": "",
}


def _word(word: tuple[str, float, float]) -> dict[str, Any]:
    return {"word": word[0], "start": word[1], "end": word[2]}


def conversation(*, words: bool) -> dict[str, Any]:
    """The answer with speakers, with the words of each segment where they are asked for."""
    answer: dict[str, Any] = json.loads(json.dumps(CONVERSATION))
    if words:
        answer["segments"][0]["words"] = [_word(WORDS[0])]
        answer["segments"][1]["words"] = [_word(word) for word in WORDS[1:]]
    return answer


def transcription() -> dict[str, Any]:
    """The answer without speakers, as verbose_json with words."""
    numbers = {
        "seek": 0,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": -0.3,
        "compression_ratio": 1.1,
        "no_speech_prob": 0.01,
    }
    texts = (("Hello.", 0.69, 1.12), ("Good morning, all.", 1.5, 2.9))
    return {
        "task": "transcribe",
        "language": "english",
        "duration": 999.0,
        "text": "Hello. Good morning, all.",
        "segments": [
            {"id": number, "start": start, "end": end, "text": text, **numbers}
            for number, (text, start, end) in enumerate(texts)
        ],
        "words": [_word(word) for word in WORDS],
    }


def logprobs(text: str) -> list[dict[str, Any]]:
    """A token for each word of a text, all as likely."""
    return [
        {"token": token, "logprob": -0.25, "bytes": list(token.encode())}
        for token in (f" {word}" for word in text.split())
    ]


def weighed(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, or a stream's line, with the tokens of its segments."""
    segments = [segment | {"logprobs": logprobs(segment["text"])} for segment in answer["segments"]]
    return answer | {"segments": segments}


def stream(*, speakers: bool) -> list[dict[str, Any]]:
    """The lines of a stream: the same answers, as they become known."""
    key = ("start_ms", "end_ms", "text")
    said: list[dict[str, Any]] = conversation(words=False)["segments"]
    heard = [{name: segment[name] for name in key} | {"speaker": None} for segment in said]
    texts = heard if speakers else transcription()["segments"]
    lines = [
        PROGRESS,
        {"type": "segments", "segments": texts[:1]},
        PROGRESS | {"stage": "transcription", "done_s": 2.5},
        {"type": "segments", "segments": texts[1:]},
    ]
    if speakers:
        lines.append({"type": "speakers", "until_s": 1.4, "segments": said[:1]})
        lines.append({"type": "speakers", "until_s": 5.0, "segments": said[1:]})
    answer = conversation(words=False) if speakers else transcription()
    return [*lines, {"type": "end", "answer": answer}]


class StandIn(Served):
    """The WhisperX server; others are made of it."""

    health_path = "/health"
    healthy: Any = HEALTHY

    def __init__(self, port: int = 0) -> None:
        super().__init__(_Handler, port)

    def reset(self) -> None:
        """Behave well again, and forget."""
        super().reset()
        self.health: tuple[int, Any] = (200, dict(self.healthy))
        self.lists: dict[str, tuple[int, Any]] = {}
        """What else it answers when it is asked, by path."""
        self.lists_hang = False
        """Whether it tells nothing of `lists` until it is released."""
        self.listing = 0
        """How many wait for such an answer."""
        self.listed = 0
        """How often it was asked for one."""
        self.asked = 0
        """How often it was asked for its health."""
        self.health_takes_s = 0.0
        self.takes_s = 0.0
        """How long it works on a recording."""
        self.at_work: set[_Handler] = set()
        """Those whose client does not have the end of its answer yet."""
        self.most_at_once = 0
        self.started = threading.Event()

    @property
    def working(self) -> int:
        """On how many requests it works."""
        return len(self.at_work)

    def behave(self, behaviour: str, answer: Any = None) -> None:  # noqa: ANN401 - any JSON
        """From now on: ok, hang, drip, half, reset, torn, early, or a status such as "500"; or
        one_by_one: each answer waits for a release of `steps`.

        Streams besides: stepwise, cut, flood, endless. The answer of a stream is a list of lines,
        objects or bytes.
        """
        super().behave(behaviour, answer)

    def answer_to(self, received: Received) -> Any:  # noqa: ANN401 - any JSON
        """What it says of a recording when all is well."""
        if received.path == "/v1/audio/transcriptions":
            found = transcription()
            return weighed(found) if b'name="include[]"' in received.body[:4096] else found
        if received.path == "/v1/audio/translations":
            return transcription() | {"task": "translate"}
        return conversation(words=b'name="words"' in received.body[:4096])


class _Handler(Quiet):
    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Tell how it is."""
        standin = self.server.standin
        if self.path in standin.lists:
            standin.listed += 1
            if standin.lists_hang and not self._is_released():
                return
            self._send(*standin.lists[self.path])
            return
        time.sleep(standin.health_takes_s)
        standin.asked += 1
        status, answer = standin.health
        if answer == standin.healthy:
            answer = {**answer, "in_flight": min(standin.working, len(standin.received))}
        self._send(status if self.path == standin.health_path else 404, answer)

    def _is_released(self) -> bool:
        """Wait with a list; False where its client hung up meanwhile."""
        standin = self.server.standin
        standin.listing += 1
        try:
            while not standin.release.wait(0.02):
                if select.select([self.connection], [], [], 0)[0]:
                    self.close_connection = True
                    return False
        finally:
            standin.listing -= 1
        return True

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        """Take a recording, then do as told."""
        standin = self.server.standin
        standin.started.set()
        standin.at_work.add(self)
        standin.most_at_once = max(standin.most_at_once, standin.working)
        try:
            self._post(standin)
        finally:
            self._at_its_end()

    def _at_its_end(self) -> None:
        """Work no more: who has the end of an answer may let the next request go at once."""
        self.server.standin.at_work.discard(self)

    def _post(self, standin: StandIn) -> None:
        if standin.behaviour == "early":
            self.close_connection = True
            self._send(413, {"error": {"message": "The recording is too long for this device."}})
            return
        if standin.behaviour == "torn":
            self.rfile.read(1000)
            self.close_connection = True
            self._reset()
            return
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.path, headers, body)
        standin.received.append(received)
        time.sleep(standin.takes_s)
        if standin.behaviour == "ok" and b'name="stream"' in body[:4096]:
            lines = self._lines()
            if b'name="include[]"' in body[:4096] and not standin.answer:
                lines = [
                    line | {"answer": weighed(line["answer"])}
                    if line["type"] == "end"
                    else weighed(line)
                    if "segments" in line
                    else line
                    for line in lines
                ]
            self._stream(lines)
        elif standin.behaviour in ("ok", "one_by_one"):
            answer = standin.answer or standin.answer_to(received)
            if standin.behaviour == "one_by_one":
                standin.steps.acquire()
            self._send(200, answer)
        elif standin.behaviour.isdecimal():
            self._send(int(standin.behaviour), standin.answer)
        else:
            self.close_connection = True
            getattr(self, f"_{standin.behaviour}")()

    def _body(self) -> bytes:
        remaining = int(self.headers["Content-Length"])
        kept = BytesIO()
        while remaining:
            piece = self.rfile.read(min(remaining, 1024 * 1024))
            if not piece:
                self.server.standin.hung_up.set()
                raise ConnectionResetError
            remaining -= len(piece)
            if kept.tell() < LARGEST_KEPT:
                kept.write(piece)
        return kept.getvalue()

    def _send(self, status: int, answer: Any) -> None:  # noqa: ANN401 - any JSON
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:  # else the next request could be sent into its end
            self.send_header("Connection", "close")
        for name, value in self.server.standin.headers.items():
            self.send_header(name, value)
        if status in (301, 302, 307, 308):
            self.send_header("Location", "/elsewhere")
        self._at_its_end()
        self.end_headers()
        self.wfile.write(body)

    def _lines(self) -> list[Any]:
        with_speakers = self.path.endswith("/transcribe-with-speakers")
        lines: list[Any] = self.server.standin.answer or stream(speakers=with_speakers)
        return lines

    def _stream(self, lines: Iterable[Any], *, cut: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            self.connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))
        self._at_its_end()
        if not cut:
            self.connection.sendall(b"0\r\n\r\n")

    def _cut(self) -> None:
        """A stream that breaks off in the middle."""
        self._stream(self._lines(), cut=True)

    def _stepwise(self) -> None:
        """A stream whose lines wait for the test, or for a client that hangs up."""

        def lines() -> Iterator[Any]:
            for line in self._lines():
                while not self.server.standin.steps.acquire(timeout=0.02):
                    if select.select([self.connection], [], [], 0)[0]:
                        self.server.standin.hung_up.set()
                        raise ConnectionResetError
                yield line

        self._stream(lines())

    def _flood(self) -> None:
        """Text without end, as fast as it is taken."""
        line = json.dumps({"type": "segments", "segments": [{"text": "x" * 100_000}]}).encode()

        def lines() -> Iterator[bytes]:
            while not self.server.standin.release.is_set():
                yield line + b"\n"
                self.server.standin.flooded += len(line)

        with contextlib.suppress(OSError):
            self._stream(lines())
        self.server.standin.hung_up.set()

    def _endless(self) -> None:
        """A line without end, after a good one."""
        with contextlib.suppress(OSError):
            self._stream([PROGRESS, *[b"x" * 1_000_000] * 80])

    def _hang(self) -> None:
        """Work until told to stop, or until the client hangs up, and say so."""
        while not self.server.standin.release.wait(0.02):
            if select.select([self.connection], [], [], 0)[0]:
                with contextlib.suppress(OSError):
                    self.connection.recv(1)
                self.server.standin.hung_up.set()
                return
        standin = self.server.standin
        self._send(200, standin.answer or standin.answer_to(standin.received[-1]))

    def _drip(self) -> None:
        """A byte now and then, for ever: no gap between two of them is long."""
        self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        with contextlib.suppress(OSError):
            while not self.server.standin.release.wait(0.05):
                self.connection.sendall(b" ")
        self.server.standin.hung_up.set()

    def _half(self) -> None:
        body = json.dumps(CONVERSATION).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.connection.sendall(head + body[: len(body) // 2])

    def _reset(self) -> None:
        """Close so that the kernel sends a reset instead of an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


if __name__ == "__main__":
    print(f"stand-in on port {sys.argv[1]}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        alone = StandIn(int(sys.argv[1]))
        alone.behave(*sys.argv[2:3] or ["ok"])
        alone.serve_forever()

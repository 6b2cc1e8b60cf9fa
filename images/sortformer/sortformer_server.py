"""HTTP of the diarizer's process, on a Unix socket that only Parakeet's process connects to."""

import errno
import json
import os
import select
import socket
import socketserver
import tempfile
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from sortformer_decoding import to_wav
from sortformer_form import Form
from sortformer_refusals import (
    RETRY_S,
    ClientLeftError,
    Refusal,
    storage_full,
    too_large,
    unavailable,
)
from sortformer_settings import IDLE_S, Settings, log
from sortformer_worker import Job, Worker

QUEUE_S = 600
LEAST_BYTES_PER_S = 1024


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """HTTP on the socket: a thread for each connection, of which Parakeet makes one a request."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, settings: Settings, worker: Worker) -> None:
        self.settings = settings
        self.worker = worker
        settings.socket.unlink(missing_ok=True)
        super().__init__(str(settings.socket), Handler)
        settings.socket.chmod(0o600)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """A connection that broke: what goes wrong in the work is logged where it happens."""
        log.debug("a connection broke")


class Handler(BaseHTTPRequestHandler):
    """One request; it comes from `Front` in Parakeet's process."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def handle_expect_100(self) -> bool:
        """Say "continue" only when a place is found: see do_POST."""
        return True

    def log_message(self, *_args: Any) -> None:  # noqa: ANN401 - the base class's signature
        """Parakeet's server has the access log."""

    def do_GET(self) -> None:
        """Answer GET /health."""
        status, shown = self.server.worker.health()
        headers = {} if status == HTTPStatus.OK else {"Retry-After": str(RETRY_S)}
        self._answer(status, json.dumps(shown).encode(), headers)

    def do_POST(self) -> None:
        """Answer POST /v1/audio/diarize."""
        try:
            self._answer(200, json.dumps(self._diarize()).encode(), {})
        except Refusal as refusal:
            self._answer(refusal.status, refusal.body, refusal.headers)
        except (ClientLeftError, ConnectionError):
            self.close_connection = True
        except Exception:  # a fault of ours; without an answer it would look like a crash
            log.exception("a request failed")
            failed = Refusal(500, "internal_error", "The diarizer failed; its log says why.")
            self._answer(failed.status, failed.body, failed.headers)
        if self.server.worker.doomed:
            os._exit(1)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True
        # What is not read yet is, for a while: a socket that is closed before loses the answer.
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(5)
        try:
            while self.rfile.read1(65536):
                pass
        except OSError:
            pass

    def _diarize(self) -> dict[str, Any]:
        worker = self.server.worker
        diarizer = worker.ready()
        if not worker.places.acquire(blocking=False):
            raise Refusal(
                429, "queue_full", "The diarizer has as many recordings as it takes.", RETRY_S
            )
        try:
            with tempfile.TemporaryDirectory(
                prefix="request-", dir=self.server.settings.folder, ignore_cleanup_errors=True
            ) as folder:
                self.send_response_only(HTTPStatus.CONTINUE)
                self.end_headers()
                upload, wav = Path(folder, "upload"), Path(folder, "audio.wav")
                self._receive(upload)
                seconds = to_wav(upload, wav, diarizer.max_seconds, self._check_client)
                diarizer.check_length(seconds)
                segments = self._wait_for(worker.add(wav, seconds))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise storage_full() from None
        finally:
            worker.places.release()
        return {
            "duration": round(seconds, 3),
            "speakers_detected": len({segment["speaker"] for segment in segments}),
            "segments": segments,
            "model": diarizer.name,
        }

    def _receive(self, target: Path) -> None:
        limit = self.server.settings.max_bytes
        received = 0
        with target.open("wb") as file:
            form = Form(self.headers.get("Content-Type", ""), file)
            began = time.monotonic()
            for chunk in self._chunks():
                received += len(chunk)
                took_s = time.monotonic() - began
                if took_s > IDLE_S and received < took_s * LEAST_BYTES_PER_S:
                    message = f"The upload is slower than {LEAST_BYTES_PER_S} bytes per second."
                    raise Refusal(408, "upload_too_slow", message)
                if received > limit:
                    raise too_large(limit)
                form.write(chunk)
        form.check()

    def _chunks(self) -> Iterator[bytes]:
        try:
            while size := int(self.rfile.readline(20), 16):
                yield self.rfile.read(size)
                self.rfile.readline(3)
            self.rfile.readline(3)
        except ValueError:  # the connection ended, so nothing was read
            raise ClientLeftError from None
        except TimeoutError:
            message = f"Nothing came for {IDLE_S} s in the middle of the upload."
            raise Refusal(408, "upload_stalled", message) from None

    def _wait_for(self, job: Job) -> list[dict[str, Any]]:
        deadline = time.monotonic() + QUEUE_S
        try:
            while not job.done.wait(0.2):
                self._check_client()
                if job.began is None and time.monotonic() > deadline:
                    message = f"The recording waited {QUEUE_S} s for its turn."
                    raise Refusal(429, "queue_timeout", message, RETRY_S)
                if self.server.worker.stuck:
                    self.server.worker.doomed = True
                    raise unavailable("The diarizer is stuck; it is started again.")
        finally:
            job.left = True
        if job.refusal is not None:
            raise job.refusal
        return job.segments

    def _check_client(self) -> None:
        """Raise ClientLeftError where Parakeet hung up, as it does when its client leaves."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        if poll.poll(0) and not self.connection.recv(1, socket.MSG_PEEK):
            raise ClientLeftError

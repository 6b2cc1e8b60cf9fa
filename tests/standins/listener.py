"""A server that is told of the ends of audio jobs, and whether it can tell whose word it has."""

import base64
import hashlib
import hmac
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class Listener:
    """Answers 204 to every webhook, and keeps it; others it answers as `statuses` says."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        """Headers, by their names in small letters, and bodies."""
        self.statuses: list[int] = []
        """What it answers next; then 204."""
        self._secret = secrets.token_bytes(32)
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = listener.statuses.pop(0) if listener.statuses else 204
                listener.heard.append((headers, body))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"{listener.url}/elsewhere")
                self.end_headers()

            def log_message(self, *_about: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def settings(self) -> dict[str, str]:
        """The gateway's, by which it may be told, and knows who does."""
        return {
            "SPEECH_WEBHOOK_HOSTS": f"{self.url}, hooks.example.org",
            "SPEECH_WEBHOOK_SECRET": f"whsec_{base64.b64encode(self._secret).decode()}",
        }

    def is_signed(self, headers: dict[str, str], body: bytes) -> bool:
        """Whether that was said by who has the secret."""
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = base64.b64encode(hmac.new(self._secret, signed, hashlib.sha256).digest())
        return headers["webhook-signature"] == f"v1,{digest.decode()}"

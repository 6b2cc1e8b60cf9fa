"""A server that is told of the ends of audio jobs, and whether it can tell whose word it has."""

import base64
import hashlib
import hmac
import secrets

from tests.standins.served import Quiet, Served


class Listener(Served):
    """Answers 204 to every webhook, and keeps it; others it answers as `statuses` says."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.url = f"http://127.0.0.1:{self.port}"
        self.heard: list[tuple[dict[str, str], bytes]] = []
        """Headers, by their names in small letters, and bodies."""
        self.statuses: list[int] = []
        """What it answers next; then 204."""
        self._secret = secrets.token_bytes(32)

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


class _Handler(Quiet):
    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        """Keep what it is told."""
        listener = self.server.standin
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = listener.statuses.pop(0) if listener.statuses else 204
        listener.heard.append((headers, body))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"{listener.url}/elsewhere")
        self.end_headers()

"""Telling of a job's end, a few times at most, signed as https://www.standardwebhooks.com says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import logging
import socket
import ssl
import time
from datetime import UTC, datetime
from urllib.parse import SplitResult

import gevent

from proxy_app.audio_jobs.shown import shown
from proxy_app.audio_jobs.targets import BadWebhookError, address_of, check_webhook
from proxy_app.settings import SettingError
from proxy_app.store import AudioJob

log = logging.getLogger(__name__)

AGAIN_S = (5.0, 60.0, 600.0, 3600.0)
"""The pauses between its tries; after the last one it is given up."""
_LIMIT_S = 20.0
_SECRETS = range(24, 65)
"""How many bytes a secret has."""


def secret_bytes(text: str | None) -> bytes | None:
    """The secret of the setting; None where none is set.

    Raises:
        SettingError: it is none.
    """
    if text is None:
        return None
    try:
        secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) not in _SECRETS:
        raise SettingError("SPEECH_WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64")
    return secret


def tell(job: AudioJob, listed: str, secret: bytes) -> str:
    """Tell of a job's end, as it is; empty if it was heard, else why it was not.

    The list is looked at again: it may have become shorter since.
    """
    body = json.dumps(
        {
            "type": f"audio.job.{job.state}",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "data": shown(job),
        }
    ).encode()
    try:
        parts = check_webhook(job.webhook or "", listed)
        with gevent.Timeout(_LIMIT_S, TimeoutError):
            status = _post(parts, body, signed(f"msg_{job.id}", body, secret))
    except BadWebhookError as error:
        return str(error)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return type(error).__name__
    return "" if 200 <= status < 300 else f"it answered {status}"  # noqa: PLR2004 - HTTP's classes


def signed(message_id: str, body: bytes, secret: bytes) -> dict[str, str]:
    """The headers that say whose a message is."""
    at = str(int(time.time()))
    digest = hmac.new(secret, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _post(parts: SplitResult, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer, of which nothing else is read; a redirect is an answer."""
    connection = _Connection(parts)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, {"Content-Type": "application/json", **headers})
        return connection.getresponse().status
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    """To the address that was checked, whatever the name means a moment later."""

    def __init__(self, parts: SplitResult) -> None:
        self._address = address_of(parts)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._name = (parts.hostname or "").rstrip(".")
        super().__init__(parts.hostname or "", self._address[1], timeout=_LIMIT_S)
        if self._tls:
            self.default_port = 443

    def connect(self) -> None:
        """As http.client, without its own question to the DNS."""
        plain = socket.create_connection(self._address, timeout=_LIMIT_S)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._name) if self._tls else plain

"""Closing a connection whose client is still sending."""

from __future__ import annotations

import socket
import time

from proxy_app.turns import let_others

LINGER_S = 30.0
"""How long the rest of a refused upload is read and thrown away, so that its sender, busy sending,
gets to read why; nginx's lingering_time."""
_SILENCE_S = 5.0
_PIECE = 256 * 1024


def linger(client: socket.socket) -> None:
    """Throw away what still comes: closing with unread data would destroy the answer."""
    try:
        client.shutdown(socket.SHUT_WR)
        client.settimeout(_SILENCE_S)
        until = time.monotonic() + LINGER_S
        while time.monotonic() < until and client.recv(_PIECE):
            let_others()
    except OSError:
        pass

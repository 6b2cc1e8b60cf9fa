"""Who takes an answer slowly gets all of it; only who takes nothing is given up."""

from __future__ import annotations

import socket
import struct

_BYTES_ACKED = 120
"""Where this is in Linux's struct tcp_info."""
_LENGTH = _BYTES_ACKED + 8


class Taker:
    """The socket of a client, as gunicorn writes an answer to it.

    A socket's own limit is for the whole of a piece, however large that is; this one is for any
    progress. What counts is what the client's machine has acknowledged. What the kernel takes for
    it says less: its buffer grows to megabytes and takes more once a third of it is empty, which a
    telephone on a bad line may not bring about in minutes.

    Args:
        client: its time limit is how long nothing may be taken.
    """

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def sendall(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            TimeoutError: the client took nothing for too long.
            OSError: it hung up.
        """
        rest = memoryview(data)
        while rest:
            taken = _taken(self._client)
            try:
                rest = rest[self._client.send(rest) :]
            except TimeoutError:
                if _taken(self._client) == taken:
                    raise


def _taken(client: socket.socket) -> int:
    """How many bytes the client's machine has acknowledged so far."""
    info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH)
    count: int = struct.unpack_from("=Q", info, _BYTES_ACKED)[0]
    return count

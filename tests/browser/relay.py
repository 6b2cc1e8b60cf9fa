"""A relay between browser and gateway: a stand-in for a network, which can forget connections."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class Relay:
    """Passes bytes on, and counts what is asked for.

    Args:
        target: the gateway's port on this machine.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._requests: list[bytes] = []
        self._sockets: list[socket.socket] = []
        self._forgotten: set[socket.socket] = set()
        self._passing: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self.port: int = self._listening.getsockname()[1]
        self._accepting.start()

    def forget(self) -> None:
        """Pass nothing on any more of the connections that there are, and close none of them."""
        self._forgotten.update(self._sockets)

    def asked_for(self, path: str) -> int:
        """How many requests had this in their first line."""
        return sum(path.encode() in request for request in self._requests)

    def close(self) -> None:
        """End all connections."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._passing:
            thread.join()
        for each in (self._listening, *self._sockets):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                for ends in ((near, far), (far, near)):
                    self._passing.append(threading.Thread(target=self._pass, args=ends))
                    self._passing[-1].start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if data.startswith(b"GET "):
                    self._requests.append(data.partition(b"\r\n")[0])
                if source not in self._forgotten:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relayed(port: int) -> Iterator[Relay]:
    """A relay before the gateway on a port."""
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.close()

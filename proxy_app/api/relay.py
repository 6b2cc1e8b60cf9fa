"""Work for a client, in a greenlet of its own that ends when the client hangs up."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

import gevent
from gevent.queue import Empty, Queue
from gevent.socket import wait_read

from proxy_app.api.connection import client_socket
from proxy_app.errors import ClientGoneError
from proxy_app.telemetry import Cost
from proxy_app.telemetry.account import KEY

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

T = TypeVar("T")

LOOK_AGAIN = "speech.look_again"
"""In a request's environment: gives the error that ends its work, or None, and is asked again and
again. Where it is not there nothing but the client ends it."""
_LOOK_S = 3.0


class Relay(Generic[T]):
    """Hands on what `work` makes, item by item, for as long as the client stays.

    At most one item waits: a client that reads slowly slows the work down.

    Args:
        environ: the request's.
        work: is given a function to put each item in, and runs at once.
    """

    def __init__(
        self, environ: WSGIEnvironment, work: Callable[[Callable[[T], None]], None]
    ) -> None:
        self._items: Queue[T | Exception] = Queue(maxsize=1)
        self._cost: Cost = environ.get(KEY) or Cost()
        self._worker = gevent.spawn(self._run, work)
        self._greenlets: list[gevent.Greenlet[..., None]] = [self._worker]
        client = client_socket(environ)
        if client is not None:
            self._greenlets.append(gevent.spawn(self._watch, client))
        if LOOK_AGAIN in environ:
            self._greenlets.append(gevent.spawn(self._look_again, environ[LOOK_AGAIN]))

    def get(self, timeout_s: float | None = None) -> T | None:
        """The next item, or None where there is none in time. Who asks knows which is the last.

        Raises:
            ClientGoneError: the client hung up; the work has ended.
            Exception: what the work raised.
        """
        try:
            item = self._items.get(timeout=timeout_s)
        except Empty:
            return None
        if isinstance(item, Exception):
            raise item
        return item

    def until(self, end: T, *, every_s: float, goes_on: Callable[[], bool]) -> Iterator[T | None]:
        """The items before `end`, and None where there was none for a while.

        Args:
            end: the last item, which is not given.
            every_s: the seconds between two questions whether it goes on, whatever comes meanwhile.
            goes_on: where it does not, this is the end.

        Raises:
            ClientGoneError, Exception: as `get`.
        """
        ask_at = time.monotonic() + every_s
        while (item := self.get(max(0.0, ask_at - time.monotonic()))) != end:
            if time.monotonic() >= ask_at:
                if not goes_on():
                    return
                ask_at = time.monotonic() + every_s
            yield item

    def close(self) -> None:
        """End the work, running its `finally` blocks."""
        gevent.killall(self._greenlets)

    def _run(self, work: Callable[[Callable[[T], None]], None]) -> None:
        with self._cost.working():
            try:
                work(self._put)
            except Exception as error:  # noqa: BLE001 - raised again, in the greenlet that gets
                self._items.put(error)

    def _put(self, item: T) -> None:
        with self._cost.held_up():
            self._items.put(item)

    def _watch(self, client: socket.socket) -> None:
        _wait_for_hang_up(client)
        self._worker.kill()
        self._items.put(ClientGoneError())

    def _look_again(self, look: Callable[[], Exception | None]) -> None:
        gevent.sleep(_LOOK_S)  # it was let in a moment ago
        while (error := look()) is None:
            gevent.sleep(_LOOK_S)
        self._worker.kill()
        self._items.put(error)


def while_connected(environ: WSGIEnvironment, work: Callable[[], T]) -> T:
    """Do `work`, and stop it when the client hangs up, running its `finally` blocks.

    Raises:
        ClientGoneError: it hung up; the work has ended.
    """
    relay: Relay[tuple[T]] = Relay(environ, lambda put: put((work(),)))
    try:
        result = relay.get()
        assert result is not None, "without a time limit there is an item"
        return result[0]
    finally:
        relay.close()


def _wait_for_hang_up(client: socket.socket) -> None:
    """Return when the client has closed its side."""
    while True:
        wait_read(client.fileno())
        try:
            if client.recv(1, socket.MSG_PEEK) == b"":
                return
        except OSError:
            return
        # The next request is already here (pipelining): the socket stays readable, so look again
        # from time to time only.
        gevent.sleep(0.5)

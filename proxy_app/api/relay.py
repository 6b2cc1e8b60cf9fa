"""Work for a client, in a greenlet of its own that ends when the client hangs up."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import gevent
from gevent import monkey
from gevent.queue import Empty, Queue
from gevent.socket import wait_read

from proxy_app.api.connection import client_socket
from proxy_app.errors import ClientGoneError
from proxy_app.telemetry import Cost
from proxy_app.telemetry.account import KEY

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

T = TypeVar("T")

_READ = 1
"""libev's name of the event."""
_LOOK_AGAIN_S = 0.5
"""The next request is already there (pipelining): the socket stays readable."""
_poll = monkey.get_original("select", "poll")
"""The kernel's, as this never waits."""
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
    """Do `work`, in this greenlet, and stop it when the client hangs up, running its `finally`s.

    Args:
        environ: the request's, whose LOOK_AGAIN ends it as well.
        work: to be done.

    Raises:
        ClientGoneError: it hung up; the work has ended.
        Exception: what LOOK_AGAIN gave; the work has ended.
    """
    sign, worker = _EndedError(), gevent.getcurrent()

    def end(error: Exception) -> None:
        if sign.error is None:
            sign.error = error
            worker.throw(sign)

    watches: list[_Watch | _Looks] = []
    if client := client_socket(environ):
        watches.append(_Watch(client, partial(end, ClientGoneError())))
    if LOOK_AGAIN in environ:
        watches.append(_Looks(environ[LOOK_AGAIN], end))
    try:
        return work()
    except _EndedError as ended:
        if ended is not sign or sign.error is None:
            raise
        raise sign.error from None
    finally:
        for watch in watches:
            watch.close()


class _EndedError(BaseException):
    """Thrown into a greenlet whose work is to end; nothing that handles errors may catch it."""

    error: Exception | None = None
    """Why."""


class _Looks:
    """Asks again and again whether work may go on, without a greenlet for what is soon done.

    Args:
        look: gives the error that ends it, or None.
        end: given the error, in the hub, which must not wait.
    """

    def __init__(
        self, look: Callable[[], Exception | None], end: Callable[[Exception], object]
    ) -> None:
        self._look = look
        self._end = end
        self._loop = gevent.get_hub().loop
        self._looking: gevent.Greenlet[..., None] | None = None
        self._ending: Any = None
        self._first = self._loop.timer(_LOOK_S)
        self._first.start(self._begin)

    def _begin(self) -> None:
        self._looking = gevent.spawn(self._again)

    def _again(self) -> None:
        while (error := self._look()) is None:
            gevent.sleep(_LOOK_S)
        self._ending = self._loop.run_callback(self._end, error)

    def close(self) -> None:
        """Look no more."""
        self._first.close()
        if self._looking is not None:
            self._looking.kill(block=False)
        if self._ending is not None:
            self._ending.stop()


class _Watch:
    """Looks whether a client hangs up, without a greenlet: most never do.

    Args:
        client: its socket.
        gone: called when it has, in the hub, which must not wait.
    """

    def __init__(self, client: socket.socket, gone: Callable[[], object]) -> None:
        self._client = client.fileno()
        self._gone = gone
        self._loop = gevent.get_hub().loop
        self._readable = self._loop.io(self._client, _READ)
        self._later: Any = None
        self._readable.start(self._look)

    def _look(self) -> None:
        self._readable.stop()
        if _has_hung_up(self._client):
            self._gone()
            return
        self._later = self._later or self._loop.timer(_LOOK_AGAIN_S)
        self._later.start(self._readable.start, self._look)

    def close(self) -> None:
        """Look no more."""
        self._readable.close()
        if self._later is not None:
            self._later.close()


def _wait_for_hang_up(client: socket.socket) -> None:
    """Return when the client has closed its side."""
    while True:
        wait_read(client.fileno())
        if _has_hung_up(client.fileno()):
            return
        gevent.sleep(_LOOK_AGAIN_S)


def _has_hung_up(client: int) -> bool:
    """Whether the client has closed its side, whatever it sent before that and nobody has read."""
    poll = _poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))

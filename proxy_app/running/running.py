"""What is being worked on, by all processes of this machine.

Each work has a name. Whoever begins it takes an flock on the file of that name, which says on
which Unix socket it is followed; another process that finds the lock held connects there. A process
that is killed loses its locks, and whoever asks next begins anew. Those who ask for the same in one
process need no socket.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gevent
from gevent import socket
from gevent.server import StreamServer

from proxy_app import flocks
from proxy_app.running.wire import LostError, There, told
from proxy_app.running.works import Here, Task, Work

log = logging.getLogger(__name__)

MOST_DESERTED = 32
"""Works that one client may leave behind in a process; of more the oldest end at once."""
_LOOK_S = 0.01
_DRAIN_S = 0.1
_PATIENCE_S = 5.0
"""How long a process that holds a lock may take to say where it is, and to answer."""
_BACKLOG = 1024
_LONGEST_NAME = 200


class OtherContentError(Exception):
    """Work of that name is about something else."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Which work is meant."""

    name: str
    """For a file's name: work of one name is the same work."""
    content: str
    """A hash of what it is about."""
    client: str
    """Who asks for it."""
    most_deserted: int = MOST_DESERTED


class Running:
    """The work of this process, and the way to that of others.

    Args:
        folder: for the locks and the sockets; made, if it is missing.
        linger_s: how long work goes on for nobody, and how long its result is kept then.
    """

    def __init__(self, folder: Path, linger_s: float) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._linger_s = linger_s
        self._held: dict[str, _Held] = {}
        self._socket = ""
        """The name of this process's socket, once it has one."""

    def join(self, ticket: Ticket, begin: Callable[[], Task]) -> Here | There:
        """Follow the work that is meant, and begin it where nobody works on it.

        Raises:
            OtherContentError: work of that name is about something else.
            Exception: what `begin` raises.
        """
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            if held := self._held.get(ticket.name):
                _compare(held.ticket.content, ticket)
                return held.work.follow()
            lock = flocks.take(self._folder / ticket.name)
            if lock is not None:
                return self._begin(ticket, lock, begin)
            with contextlib.suppress(LostError, OSError):
                return self._follow_elsewhere(ticket)
            gevent.sleep(_LOOK_S)  # it is just beginning, or over
        log.warning("a process that holds running/%s does not answer: it is shared no more", ticket)
        return Work(begin(), deserted=Work.stop, forget=lambda _work: None).follow()

    def drain(self, until: float, meanwhile: Callable[[], None]) -> None:
        """End what nobody waits for, and wait for the rest.

        Args:
            until: at which time.monotonic() the rest ends, too.
            meanwhile: called again and again.
        """
        self._linger_s = 0.0
        while self._held:
            for held in list(self._held.values()):
                if not held.work.is_followed or time.monotonic() >= until:
                    held.work.stop()
            meanwhile()
            gevent.sleep(_DRAIN_S)

    def _begin(self, ticket: Ticket, lock: int, begin: Callable[[], Task]) -> Here:
        path = self._folder / ticket.name
        try:
            note = {"socket": self._listen(), "content": ticket.content}
            os.ftruncate(lock, 0)
            os.pwrite(lock, json.dumps(note).encode() + b"\n", 0)
            work = Work(
                begin(),
                deserted=lambda work: self._linger(work, ticket),
                forget=lambda _work: self._forget(ticket.name),
            )
        except BaseException:
            flocks.give(path, lock)
            raise
        self._held[ticket.name] = _Held(ticket, work, lock)
        return work.follow()

    def _forget(self, name: str) -> None:
        flocks.give(self._folder / name, self._held.pop(name).lock)

    def _linger(self, work: Work, ticket: Ticket) -> None:
        """Nobody follows it: let it go on for a while."""
        if self._linger_s <= 0:
            work.stop()
            return
        since = work.deserted_at = time.monotonic()
        gevent.spawn_later(self._linger_s, _stop_if_deserted, work, since)
        others = [
            held.work
            for held in self._held.values()
            if held.ticket.client == ticket.client and held.work.deserted_at is not None
        ]
        others.sort(key=lambda other: other.deserted_at or 0)
        for other in others[: -ticket.most_deserted]:
            other.stop()

    def _follow_elsewhere(self, ticket: Ticket) -> There:
        """Follow work of another process.

        Raises:
            LostError, OSError, OtherContentError: it is over, or not ready yet; or another one.
        """
        try:
            note = json.loads((self._folder / ticket.name).read_bytes())
        except ValueError:
            raise LostError from None
        _compare(note["content"], ticket)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_PATIENCE_S)
            with self._address(note["socket"]) as address:
                connection.connect(address)
            connection.sendall(ticket.name.encode() + b"\n")
            follower = There(connection)
            connection.settimeout(None)
        except BaseException:
            connection.close()
            raise
        return follower

    @contextmanager
    def _address(self, name: str) -> Iterator[str]:
        """A socket's address by way of its folder, which may have any length, unlike an address."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{folder}/{name}"
        finally:
            os.close(folder)

    def _listen(self) -> str:
        """The name of this process's socket, which is made when it is needed first."""
        if not self._socket:
            self._sweep()
            name = f"{os.getpid()}-{secrets.token_hex(4)}"
            # Held for as long as the process lives: its socket is not to be swept.
            while flocks.take(self._folder / f"{name}.process") is None:
                gevent.sleep(_LOOK_S)  # another one sweeps
            listener = socket.socket(socket.AF_UNIX)
            with self._address(f"{name}.socket") as address:
                listener.bind(address)
                (self._folder / f"{name}.socket").chmod(0o600)
            listener.listen(_BACKLOG)
            self._server = StreamServer(listener, self._serve)
            self._server.start()
            self._socket = f"{name}.socket"
        return self._socket

    def _sweep(self) -> None:
        """Remove what processes that were killed have left."""
        for path in self._folder.iterdir():
            if path.suffix == ".socket":
                continue
            lock = flocks.take(path)
            if lock is not None:
                path.with_suffix(".socket").unlink(missing_ok=True)
                flocks.give(path, lock)

    def _serve(self, connection: socket.socket, _address: object) -> None:
        """Tell another process of work."""
        connection.settimeout(_PATIENCE_S)
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as sent:
            name = sent.readline(_LONGEST_NAME).decode(errors="replace").strip()
            held = self._held.get(name)
            if held is None:
                connection.sendall(b"{}\n")
                return
            connection.settimeout(None)
            follower = held.work.follow()
            teller = gevent.spawn(_tell, connection, follower)
            watcher = gevent.spawn(_wait_for_end, connection, teller)
            try:
                teller.join()
            finally:
                gevent.killall([teller, watcher])
                follower.close()


@dataclass(frozen=True, slots=True)
class _Held:
    """Work of this process, and the lock on its name."""

    ticket: Ticket
    work: Work
    lock: int


def _compare(content: str, ticket: Ticket) -> None:
    if content != ticket.content:
        raise OtherContentError


def _stop_if_deserted(work: Work, since: float) -> None:
    if work.deserted_at == since:
        work.stop()


def _wait_for_end(connection: socket.socket, teller: gevent.Greenlet[..., None]) -> None:
    """It says nothing more, but may hang up."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    teller.kill()


def _tell(connection: socket.socket, follower: Here) -> None:
    with contextlib.suppress(OSError):
        for line in told(follower):
            connection.sendall(line)

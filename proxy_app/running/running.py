"""What is being worked on, by all processes of this machine.

Each work has a name. Whoever begins it makes a symbolic link of that name, which only one can; it
points to the file of its process, which holds an flock on it, and has a Unix socket beside it.
Another process that finds the link connects there. A process that is killed loses its flock, and
with it all its links: whoever asks next begins anew. Those who ask for the same in one process need
no socket.

An upload that may be more of the same is a link as well, in a folder of its own, from its first
byte until it is known what it asks for: who comes back has to send everything again first.

A link, because it is made and removed in microseconds: to close a file that something was written
to and that is gone takes a millisecond on some file systems.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import gevent
from gevent import socket
from gevent.select import select
from gevent.server import StreamServer

from proxy_app import flocks
from proxy_app.running.wire import LostError, There, told
from proxy_app.running.works import Here, Task, Work

log = logging.getLogger(__name__)

MOST_DESERTED = 4
"""Works that one client may leave behind in a process; of more the oldest end at once. They keep
their places, also those in a line, in which others wait behind them."""
_LOOK_S = 0.01
_DRAIN_S = 0.1
_PATIENCE_S = 5.0
"""How long a process that holds a lock may take to say where it is, and to answer."""
_BACKLOG = 1024
_LONGEST_NAME = 200
_DIGITS = 32
"""Of the hash of a content: a link as short as that costs no block of the disk."""
_ARRIVING = "arriving"
_ARRIVES_S = 1.0
"""An upload that takes no longer than this is not told of."""
_ARRIVING_LOOK_S = 0.1


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
    upload: str = ""
    """What all uploads that may be the same have in common, known before they are there; empty
    for one of which nothing is known."""
    may_linger: Callable[[], bool] = field(default=lambda: True, compare=False)
    """Whether the client may still come back for it."""


class Running:
    """The work of this process, and the way to that of others.

    Args:
        folder: for the locks and the sockets; made, if it is missing.
        linger_s: how long work goes on for nobody, and how long its result is kept then.
    """

    def __init__(self, folder: Path, linger_s: float) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / _ARRIVING).mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._linger_s = linger_s
        self._held: dict[str, _Held] = {}
        self._process = ""
        """The name of this process's file and socket, once it has them."""

    def join(self, ticket: Ticket, begin: Callable[[], Task]) -> Here | There:
        """Follow the work that is meant, and begin it where nobody works on it.

        Raises:
            OtherContentError: work of that name is about something else.
            Exception: what `begin` raises.
        """
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            if held := self._held.get(ticket.name):
                if held.ticket.content != ticket.content:
                    raise OtherContentError
                return held.work.follow()
            with contextlib.suppress(FileNotFoundError):
                process = self._claim(ticket)
                if process is None:
                    return self._begin(ticket, begin)
                with contextlib.suppress(LostError, OSError):
                    return self._follow_elsewhere(ticket, process)
            gevent.sleep(_LOOK_S)  # it is just beginning, or over
        log.warning("the process that works on %s does not answer: another one does", ticket.name)
        return Work(begin(), deserted=Work.stop, forget=lambda _work: None).follow()

    def arriving(self, upload: str) -> Callable[[], None]:
        """Say that an upload is on its way: what it may be the same as is not ended meanwhile.

        Args:
            upload: as a Ticket has it.

        Returns:
            what is to be called when it is known what it asks for, and its work is followed, or
            when it is given up; harmless to repeat.
        """
        if not upload or self._linger_s <= 0:
            return lambda: None
        link = self._folder / _ARRIVING / f"{upload[:_DIGITS]}.{secrets.token_hex(8)}"
        process = self._listen()
        # Most are there at once, and need none.
        saying = gevent.spawn_later(min(_ARRIVES_S, self._linger_s / 2), _say, link, process)

        def arrived() -> None:
            if saying.started:
                saying.kill(block=False)
            else:
                link.unlink(missing_ok=True)

        return arrived

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

    def _begin(self, ticket: Ticket, begin: Callable[[], Task]) -> Here:
        try:
            work = Work(
                begin(),
                deserted=lambda work: self._linger(work, ticket),
                forget=lambda _work: self._forget(ticket.name),
            )
        except BaseException:
            (self._folder / ticket.name).unlink()
            raise
        self._held[ticket.name] = _Held(ticket, work)
        return work.follow()

    def _forget(self, name: str) -> None:
        del self._held[name]
        (self._folder / name).unlink(missing_ok=True)

    def _linger(self, work: Work, ticket: Ticket) -> None:
        """Nobody follows it: let it go on for a while."""
        if self._linger_s <= 0 or not ticket.may_linger():
            work.stop()
            return
        if work.is_followed:  # by somebody who came while that was looked up
            return
        since = work.deserted_at = time.monotonic()
        gevent.spawn_later(self._linger_s, self._stop_if_deserted, work, ticket.upload, since)
        others = [
            (held.work.deserted_at, held.work)
            for held in self._held.values()
            if held.ticket.client == ticket.client and held.work.deserted_at is not None
        ]
        others.sort(key=lambda other: other[0])
        for deserted_at, other in others[: -ticket.most_deserted]:
            if other.deserted_at == deserted_at:  # nobody came back while one before it ended
                other.stop()

    def _stop_if_deserted(self, work: Work, upload: str, since: float) -> None:
        """End it, unless somebody has come back, or one of the uploads under way is to.

        Of uploads that begin later none is waited for: who sends many of one length would have it
        going on for ever.
        """
        under_way = (self._folder / _ARRIVING).glob(f"{upload[:_DIGITS]}.*") if upload else ()
        for link in list(under_way):
            while work.deserted_at == since and self._is_under_way(link):
                gevent.sleep(_ARRIVING_LOOK_S)
        if work.deserted_at == since:
            work.stop()

    def _is_under_way(self, link: Path) -> bool:
        try:
            process = str(link.readlink()).partition(" ")[0]
        except FileNotFoundError:
            return False
        return flocks.is_held(self._folder / process)

    def _claim(self, ticket: Ticket) -> str | None:
        """Say that this process does it; None, or the process that has said so before.

        Raises:
            OtherContentError: it has said so of something else.
            FileNotFoundError: it has just ended.
        """
        path, claim = self._folder / ticket.name, f"{self._listen()} {ticket.content[:_DIGITS]}"
        try:
            path.symlink_to(claim)
        except FileExistsError:
            process, _, content = str(path.readlink()).partition(" ")
            if not flocks.is_held(self._folder / process):
                self._take_over(path, claim)
                return None
            if content != ticket.content[:_DIGITS]:
                raise OtherContentError from None
            return process
        return None

    def _take_over(self, path: Path, claim: str) -> None:
        """Claim what a process has that was killed, as the only one who does.

        Raises:
            FileNotFoundError: another one was faster.
        """
        with (self._folder / "taking.over").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = str(path.readlink()).partition(" ")[0]
            if flocks.is_held(self._folder / process):
                raise FileNotFoundError
            path.unlink()
            path.symlink_to(claim)

    def _follow_elsewhere(self, ticket: Ticket, process: str) -> There:
        """Follow work of another process.

        Raises:
            LostError, OSError: it is over, or not ready yet.
        """
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_PATIENCE_S)
            with self._address(f"{process}.socket") as address:
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
        """The name of this process, whose socket is made when it is needed first."""
        if not self._process:
            self._sweep()
            name = f"{os.getpid()}-{secrets.token_hex(4)}"
            # Held for as long as the process lives, and never given back.
            while flocks.take(self._folder / name) is None:
                gevent.sleep(_LOOK_S)  # another one sweeps
            listener = socket.socket(socket.AF_UNIX)
            with self._address(f"{name}.socket") as address:
                listener.bind(address)
                (self._folder / f"{name}.socket").chmod(0o600)
            listener.listen(_BACKLOG)
            self._server = StreamServer(listener, self._serve)
            self._server.start()
            self._process = name
        return self._process

    def _sweep(self) -> None:
        """Remove what processes that were killed have left."""
        for path in self._folder.glob("*-*"):
            if path.suffix != ".socket" and (lock := flocks.take(path)) is not None:
                arriving = (self._folder / _ARRIVING).iterdir()
                for claim in itertools.chain(self._folder.iterdir(), arriving):
                    with contextlib.suppress(OSError):  # it is gone, or no link
                        if claim.readlink().name.startswith(f"{path.name} "):
                            claim.unlink()
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
            if _has_hung_up(connection):  # it gave up while this process did not answer
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
    """Work of this process."""

    ticket: Ticket
    work: Work


def _say(link: Path, process: str) -> None:
    with contextlib.suppress(OSError):  # of a full disk: then work may be done twice
        link.symlink_to(f"{process} upload")


def _has_hung_up(connection: socket.socket) -> bool:
    is_readable = bool(select([connection], [], [], 0)[0])
    return is_readable and not connection.recv(1, socket.MSG_PEEK)


def _wait_for_end(connection: socket.socket, teller: gevent.Greenlet[..., None]) -> None:
    """It says nothing more, but may hang up."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    teller.kill()


def _tell(connection: socket.socket, follower: Here) -> None:
    with contextlib.suppress(OSError):
        for line in told(follower):
            connection.sendall(line)

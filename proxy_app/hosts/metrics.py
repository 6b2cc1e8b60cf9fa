"""How the hosts are: looked at every few seconds, over connections that stay open.

There is one collector per control host. What it sees is a row per host in the database, so that the
page, its workers and the next collector go on from there.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from proxy_app.hosts.line import Line
from proxy_app.hosts.looks import Look, parse
from proxy_app.hosts.ssh import SshError, UnusableError
from proxy_app.jobs.desk import Room
from proxy_app.jobs.project import Login, ProjectError
from proxy_app.store import HostState

log = logging.getLogger(__name__)

REACHABLE, UNREACHABLE = "reachable", "unreachable"
POINTS = 60
POINT_EVERY_S = 60.0
"""The history: so many points, so far apart."""
ANSWERS_WITHIN_S = 30.0
_MOST_AT_ONCE = 32
_LONGEST_PAUSE_S = 60.0


@dataclass
class _Watched:
    """What is remembered of a host between two looks."""

    login: Login
    line: Line | None = None
    look: Look | None = None
    work: Future[None] | None = None
    failures: int = 0
    due: float = 0.0

    def hang_up(self) -> None:
        """Close the connection; while it is being used that is its user's to do."""
        if self.line:
            self.line.close()
        self.line = self.look = None

    def drop(self) -> None:
        """End what is going on, and then close the connection."""
        if self.line:
            self.line.stop()
        if self.work:
            self.work.add_done_callback(lambda _: self.hang_up())


class Collector:
    """Looks at all hosts of the inventories, each in its own time.

    Args:
        room: the settings, the inventories and the database.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._every_s = room.config.hosts_every_s
        self._watched: dict[str, _Watched] = {}
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="hosts")
        self._said = ""

    def run(self, stop: threading.Event) -> None:
        """Look again and again until `stop`."""
        try:
            self._read_again()
            while not stop.is_set():
                self._begin()
                stop.wait(self._every_s)
        finally:
            self.close()

    def run_once(self) -> None:
        """Look at every host once, those that were not reached lately left out."""
        self._begin()
        wait([host.work for host in self._watched.values() if host.work])

    def close(self) -> None:
        """Close all connections."""
        for host in self._watched.values():
            host.drop()
        self._pool.shutdown(cancel_futures=True)

    def _read_again(self) -> None:
        """Each start of ours finds out what the inventory lists now, for all processes."""
        try:
            self._room.project.read_again()
        except ProjectError as error:
            self._complain(error)

    def _begin(self) -> None:
        """Look at every host whose turn it is; one that hangs keeps no other one waiting."""
        try:
            logins = self._room.project.hosts().logins
            self._forget(logins)
        except (ProjectError, SQLAlchemyError) as error:
            self._complain(error)
            return
        self._said = ""
        now = time.monotonic()
        for name, login in logins.items():
            host = self._watched.setdefault(name, _Watched(login))
            if (host.work is None or host.work.done()) and host.due <= now:
                host.work = self._pool.submit(self._look_at, name, host, login)

    def _forget(self, logins: Mapping[str, Login]) -> None:
        """Drop the hosts that no inventory has any more."""
        for name in [name for name in self._watched if name not in logins]:
            self._watched.pop(name).drop()
        with self._room.store.session(writes=True) as session:
            gone = set(session.scalars(select(HostState.name))) - set(logins)
            if gone:
                session.execute(delete(HostState).where(HostState.name.in_(gone)))

    def _look_at(self, name: str, host: _Watched, login: Login) -> None:
        try:
            if host.login != login:
                host.hang_up()
                host.login = login
            before = host.look
            look = self._ask(host)
            self._note(name, REACHABLE, "", look, look.cpu_since(before))
            host.failures = 0
        except (SshError, UnusableError, ValueError) as error:
            host.hang_up()
            host.failures += 1
            pause = min(_LONGEST_PAUSE_S, self._every_s * 2 ** min(host.failures - 1, 8))
            host.due = time.monotonic() + pause
            self._note(name, UNREACHABLE, str(error))
        except Exception:
            log.exception("looking at %s", name)

    def _ask(self, host: _Watched) -> Look:
        if host.line is None:
            host.line = Line(host.login, self._room.project.environment(os.environ))
        host.look = parse(host.line.ask(ANSWERS_WITHIN_S))
        return host.look

    def _note(
        self, name: str, state: str, detail: str, look: Look | None = None, cpu: float | None = None
    ) -> None:
        now = time.time()
        try:
            with self._room.store.session(writes=True) as session:
                row = session.get(HostState, name)
                if row is None:
                    row = HostState(name=name, since=now, state="", history=[])
                    session.add(row)
                if row.state != state:
                    row.state, row.since = state, now
                row.at, row.detail = now, detail
                row.look = {**look.facts, "cpu": cpu} if look else None
                if look:
                    row.history = with_point(row.history, now, look, cpu)
        except SQLAlchemyError as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Say it once, not every few seconds."""
        said = str(error) if isinstance(error, ProjectError) else type(error).__name__
        if said != self._said:
            log.error("hosts cannot be looked at: %s", said)
        self._said = said


def with_point(
    history: list[dict[str, Any]], at: float, look: Look, cpu: float | None
) -> list[dict[str, Any]]:
    """The history with this look, if it is time for its next point; parts of 1."""
    is_early = history and 0 <= at - history[-1]["at"] < POINT_EVERY_S
    if is_early or cpu is None:  # as of the first look of a connection
        return history
    facts = look.facts
    total, available = facts["memory_total_bytes"], facts["memory_available_bytes"]
    busy = [gpu["utilisation"] for gpu in facts["gpus"] if gpu["utilisation"] is not None]
    point = {
        "at": at,
        "cpu": cpu,
        "memory": round(max(0, total - available) / total, 3),
        "gpu": max(busy, default=None),
    }
    return [*history, point][-POINTS:]

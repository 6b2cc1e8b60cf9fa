"""Events on their way from the process that works to another one: a JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from gevent import socket

from proxy_app.errors import ApiError
from proxy_app.running.works import Here
from proxy_app.telemetry import Cost
from proxy_app.upstreams import Attributed, End, Event, Heard, Progress

_KINDS: dict[str, type[Event]] = {
    "progress": Progress,
    "heard": Heard,
    "attributed": Attributed,
    "end": End,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_ERROR = ("message", "status", "code", "param", "headers", "more")


class LostError(Exception):
    """The process that worked on it is gone, and with it all that it knew."""


def told(follower: Here) -> Iterator[bytes]:
    """The lines for everything that one is told who follows from elsewhere."""
    yield _line(by=follower.by)
    try:
        for event in follower.events():
            more: dict[str, Any] = {}
            if isinstance(event, End):
                more["cost"] = msgspec.to_builtins(follower.take_cost())
            yield _line(
                by=follower.by,
                kind=_NAMES[type(event)],
                event=msgspec.to_builtins(event),
                **more,
            )
    except ApiError as error:
        fields = {name: getattr(error, name) for name in _ERROR}
        yield _line(by=follower.by, error=fields, cost=msgspec.to_builtins(follower.take_cost()))


class There:
    """One who follows work of another process.

    Args:
        connection: to the process, which has been told which work; belongs to this object.

    Raises:
        LostError: the work is over, or its process is.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self.by = ""
        """Who is at work, or was the last to be."""
        self.cost: Cost | None = None
        """What it has cost is known at its end alone, where this one is to pay."""
        try:
            self.by = self._read()["by"]
        except BaseException:
            self.close()
            raise

    def events(self) -> Iterator[Event]:
        """Everything from the beginning.

        Raises:
            ApiError: the work failed.
            LostError: its process is gone.
        """
        while True:
            line = self._read()
            self.by = line["by"]
            if line.get("cost"):
                self.cost = msgspec.convert(line["cost"], Cost)
            if "error" in line:
                raise ApiError(line["error"].pop("message"), **line["error"])
            event: Event = msgspec.convert(line["event"], _KINDS[line["kind"]])
            yield event
            if isinstance(event, End):
                return

    def take_cost(self) -> Cost | None:
        """What it has cost, if it has ended and nobody else pays."""
        cost, self.cost = self.cost, None
        return cost

    def close(self) -> None:
        """Wait for it no more; harmless to repeat."""
        self._lines.close()
        self._connection.close()

    def _read(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
            found: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        except (OSError, ValueError):
            found = {}
        if "by" not in found:
            raise LostError
        return found


def _line(**values: object) -> bytes:
    # Everything outside of ASCII is escaped: what a service says may have a lone surrogate.
    return json.dumps(values).encode() + b"\n"

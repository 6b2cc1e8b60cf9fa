"""What a worker asks of whoever does a job."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from proxy_app.jobs.events import EventWriter
from proxy_app.jobs.states import State


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended, in a state and a sentence."""

    state: State
    reason: str


class Executor(Protocol):
    """Does one job. `run` is called in a thread of its own, the others from the main one."""

    def run(self) -> Outcome:
        """Do it; nothing it does goes on when it returns."""

    def stop(self, *, force: bool) -> None:
        """Have `run` return soon, or with `force` at once."""


def ended(phases: Sequence[Mapping[str, Any]], at: float) -> list[dict[str, Any]]:
    """The phases of a job whose process is gone: what it was at has failed."""
    over = {"state": "failed", "finished_at": round(at, 3)}
    return [{**phase, **(over if phase["finished_at"] is None else {})} for phase in phases]


class Phases:
    """The named parts of a job, as they begin and end: in the events, and in a list."""

    def __init__(self, events: EventWriter) -> None:
        self._events = events
        self._all: list[dict[str, Any]] = []
        self._failed: dict[str, Any] | None = None

    def begin(self, name: str) -> None:
        """A phase begins, and the one before it is over, unless it is the same."""
        if self._all and self._all[-1]["name"] == name:
            return
        self._end("succeeded")
        now = round(time.time(), 3)
        self._all.append({"name": name, "state": "running", "started_at": now, "finished_at": None})
        self._events.phase(name, "running")

    def failed_here(self) -> None:
        """What fails the job, if it fails, was in the running phase; the last one counts."""
        if self._all:
            self._failed = self._all[-1]

    def end(self, state: State) -> None:
        """The job is over: one that did not succeed has a phase in which it ended."""
        if not self._all:
            return
        if state is State.CANCELED:  # what failed before was rescued, as it went on
            self._end("canceled")
            return
        last = self._all[-1]
        culprit = None if state is State.SUCCEEDED else self._failed or last
        self._end("failed" if culprit is last else "succeeded")
        if culprit is not None and culprit is not last:
            culprit["state"] = "failed"
            self._events.phase(culprit["name"], "failed")

    def _end(self, state: str) -> None:
        if self._all and self._all[-1]["finished_at"] is None:
            last = self._all[-1]
            last.update(state=state, finished_at=round(time.time(), 3))
            self._events.phase(last["name"], state)

    def as_list(self) -> list[dict[str, Any]]:
        """All of them by now."""
        return [dict(phase) for phase in self._all]

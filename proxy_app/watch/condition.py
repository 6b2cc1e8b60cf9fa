"""How one service is: in the database, and as a note for the gateway's workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from proxy_app.services import Reports, Service, Verdict
from proxy_app.services.health import GIVEN_UP, RESTARTING, SUSPECT, UNREACHABLE
from proxy_app.store import ServiceState
from proxy_app.watch.clocks import Moment
from proxy_app.watch.records import Records

CONFIRM_S = 2.0
"""After a failure that nobody reported, before the probe that decides."""
ASLEEP_S = 30.0
"""Rounds are made more often, except by a machine that sleeps, or a process that is stopped."""
_LONGEST_DETAIL = 500


class Condition:
    """What is known of one service, and when it is to be probed next.

    A watch process goes on from what the last one has written down.
    """

    def __init__(
        self, service: Service, records: Records, reports: Reports, now: Callable[[], Moment]
    ) -> None:
        self.service = service
        self._records = records
        self._reports = reports
        self._now = now
        moment = now()
        self._watched = [service.base_url, service.api, service.host, service.container]
        self.row = self._last_row() or ServiceState(
            name=service.name, state=UNREACHABLE, since=moment.wall, detail="", known={}
        )
        self.row.checking = False
        self.since = moment.monotonic
        """Since when it has been in this state."""
        self.due = moment.monotonic
        """When the next probe is to be made."""
        self.probe_failed = self.row.state in (RESTARTING, GIVEN_UP)
        self._answered_seen = reports.answered_at(service.name)
        self._is_saved = False
        self._unwatched_s = 0.0
        self._watched_at = moment.monotonic

    def _last_row(self) -> ServiceState | None:
        """What the last watch process knew of it; nothing of another one that had its name."""
        name = self.service.name
        row = self._records.state(name)
        if row is None or row.known.get("watched", self._watched) == self._watched:
            return row
        self._records.forgive(name)
        return None

    @property
    def state(self) -> str:
        """One of services/health.py."""
        return self.row.state

    def time(self) -> float:
        """Seconds by a clock that nobody can set, and that stands still while nobody watches."""
        return self._now().monotonic - self._unwatched_s

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """A round. If there was none for long, the machine has slept.

        Nobody knows what a service did in that time, so it has neither loaded nor been silent.
        """
        gap_s = self.time() - self._watched_at
        if gap_s > ASLEEP_S:
            self._unwatched_s += gap_s
            self.due = min(self.due, self.time())
        try:
            yield
        finally:
            self._watched_at = self.time()

    def wall(self) -> float:
        """Seconds since 1970, for people."""
        return self._now().wall

    def set(self, state: str, detail: str) -> None:
        """Tell how it is now."""
        detail = detail[:_LONGEST_DETAIL]
        if (state, detail) == (self.row.state, self.row.detail):
            return
        if state != self.row.state:
            self.row.since = self.wall()
            self.since = self.time()
            self.row.state = state
        self.row.detail = detail
        self.save()

    def doubt(self, detail: str) -> None:
        """Something speaks against it: a probe has to decide."""
        self.due = self.time() + CONFIRM_S
        self.has_answered()
        self.set(SUSPECT, detail)

    def has_answered(self) -> bool:
        """Whether it has given a request a good answer since this was asked last.

        It counts as a probe where none has failed: a broken model answers 200, with nonsense.
        """
        answered = self._reports.answered_at(self.service.name)
        is_new = answered != self._answered_seen
        self._answered_seen = answered
        return is_new and not self.probe_failed

    def answers(self) -> None:
        """A probe was good, which counts as a good answer and is none to a request."""
        self._reports.answered(self.service.name)
        self.has_answered()

    def save(self) -> None:
        """Write down what is known, the note first: no request waits for a database."""
        row, self._is_saved = self.row, False
        row.known = {**row.known, "watched": self._watched}
        refuses = row.state in (RESTARTING, GIVEN_UP) or (
            row.state == SUSPECT and self.probe_failed
        )
        self._reports.tell(self.service.name, Verdict(row.state, row.detail, refuses))
        self._records.save(row)
        self._is_saved = True

    def withdraw(self) -> None:
        """It cannot be written down: requests go by what the service says of itself until then."""
        self._is_saved = False
        self._reports.withdraw(self.service.name)

    def save_if_not_saved(self) -> None:
        """The database was away."""
        if not self._is_saved:
            self.save()

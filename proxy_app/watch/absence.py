"""A service that nobody answers for: what its host says of it, and what follows from that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from proxy_app.services.health import (
    ABSENT,
    GIVEN_UP,
    READY,
    RESTARTING,
    STOPPED,
    UNREACHABLE,
    WARMING,
)
from proxy_app.watch.condition import Condition
from proxy_app.watch.healing import Healer
from proxy_app.watch.records import RESTARTS, Records
from proxy_app.watch.standing import At, Standing

SILENT_S = 5.0
"""How long nobody may listen where somebody did; what ended may be started again meanwhile."""
DEAF_S = 15.0
"""The same of what runs: `docker stop` gives it 10 s to finish what it has."""
SETTLED_S = 60.0
"""After a job that was cut off: a stop that it has ordered may still be under way."""
_FIRST_S, _MOST_S = 2.0, 30.0
"""Between two questions to its host, at first and in the end."""


class Absence:
    """Asks its host while it does not answer, and counts what its host has started again."""

    def __init__(
        self,
        condition: Condition,
        healer: Healer,
        records: Records,
        *,
        standing: Callable[[], Standing],
        in_use_s: Callable[[], float | None],
        load_limit_s: float,
    ) -> None:
        self._condition = condition
        self._healer = healer
        self._records = records
        self._standing = standing
        self._in_use_s = in_use_s
        self._load_limit_s = load_limit_s
        self._silent_since: float | None = None
        self._ask_at = condition.time()
        self._every_s = _FIRST_S
        self._worked_on_at = condition.time()
        self._new_life = ("", condition.time())
        """A life in which it has not been ready yet, and when that was seen first."""

    def is_over(self) -> None:
        """It answers."""
        known = self._condition.row.known
        if "left_undone" in known and self._condition.time() - self._worked_on_at > SETTLED_S:
            self._condition.row.known = {key: known[key] for key in known if key != "left_undone"}
        self._silent_since = None
        self._every_s = _FIRST_S
        self._ask_at = self._condition.time()

    def job_is_over(self, *, left_undone: bool) -> None:
        """Somebody has worked on it: its host has news, and what changed was not Docker's doing.

        Args:
            left_undone: the job was to start it, and did not come to its end. Where it is stopped
                now nobody wanted that, and where it runs it may be the old one that runs.
        """
        known = self._condition.row.known
        kept = {"ready_in": known["ready_in"]} if "ready_in" in known else {}
        self._condition.row.known = kept | {"left_undone": True} if left_undone else {}
        self._worked_on_at = self._condition.time()
        self._ask_at = self._condition.time()
        self._new_life = ("", self._condition.time())

    def look_now(self) -> None:
        """As `look`, and its host is asked at once."""
        self._ask_at = self._condition.time()
        self.look()

    def look(self) -> None:
        """See what its host says; asked ever less often."""
        condition, now = self._condition, self._condition.time()
        if self._silent_since is None:
            self._silent_since = now
        if now < self._ask_at:
            return
        standing = self._standing()
        self._ask_at = condition.time() + self._every_s
        self._every_s = min(2 * self._every_s, _MOST_S)
        match standing.at:
            case At.ABSENT:
                condition.row.known = {}
                condition.set(ABSENT, standing.detail)
            case At.UNKNOWN:
                condition.set(UNREACHABLE, standing.detail)
            case At.STOPPED if condition.state == GIVEN_UP and condition.row.known.get("stopped"):
                if self._records.left(condition.service.name):
                    self._healer.heal("It was stopped, as it had ended again and again.")
            case At.STOPPED if condition.row.known.get("left_undone"):
                self._healer.heal("The job that was to start it did not come to its end.")
            case At.STOPPED:
                condition.row.known = {}
                condition.set(STOPPED, standing.detail)
            case At.CRASHED:
                self._is_down(standing.detail, SILENT_S)
            case At.RESTARTING | At.RUNNING:
                self._comes_back(standing)

    def is_ready(self) -> None:
        """It has become ready, in the life that its host tells of."""
        standing = self._standing()
        self._count(standing)
        row = self._condition.row
        row.known = {**row.known, "ready_in": standing.life}

    def count_restarts(self) -> None:
        """Count what its host has started again by itself."""
        self._count(self._standing())

    def _is_down(self, detail: str, within_s: float) -> None:
        """Nobody listens, and nothing is known that would change that; for a moment that may be."""
        condition = self._condition
        if condition.state != GIVEN_UP:
            self._ask_at = condition.time() + _FIRST_S
        if condition.time() - (self._silent_since or condition.time()) > within_s:
            self._healer.heal(detail)
        elif condition.state == READY:
            condition.doubt(detail)

    def _comes_back(self, standing: Standing) -> None:
        """It runs, or is about to: does it load, or does nobody listen any more?"""
        condition = self._condition
        condition.row.known = {**condition.row.known, "stopped": False}
        if self._count(standing):
            self._healer.give_up(f"It ends again and again: {standing.detail}", stop=True)
        elif standing.at is At.RESTARTING:
            condition.set(RESTARTING, standing.detail)
        elif standing.life != condition.row.known.get("ready_in"):
            self._starts(standing.life)
        elif self._in_use_s() is None:
            self._is_down("It runs, and nobody listens there any more.", DEAF_S)
        else:
            self._silent_since = condition.time()
            if condition.state == READY:
                condition.doubt("It takes nobody new, and has work: it is being stopped, or full.")

    def _starts(self, life: str) -> None:
        condition = self._condition
        if self._new_life[0] != life:
            self._new_life = (life, condition.time())
        if condition.time() - self._new_life[1] > self._load_limit_s:
            self._healer.heal("It runs, and does not get ready.")
        elif condition.state != GIVEN_UP or self._records.left(condition.service.name):
            condition.set(WARMING, "It is starting.")

    def _count(self, standing: Standing) -> bool:
        """Count what its host started again by itself; whether the budget had less."""
        row, name = self._condition.row, self._condition.service.name
        known = row.known
        if standing.at in (At.UNKNOWN, At.ABSENT):
            return False
        made = 0
        if "life" in known and standing.life != known["life"]:
            made = _made(standing, known)
        left = self._records.left(name)
        for _ in range(min(made, RESTARTS)):
            by = "supervisor" if standing.restarts is None else "docker"
            self._records.add_restart(name, by=by)
        row.known = {
            **known,
            "life": standing.life,
            "container": standing.container,
            "restarts": standing.restarts,
        }
        return made > left


def _made(standing: Standing, known: Mapping[str, Any]) -> int:
    """How many restarts led from one life to another, those that a person made left out."""
    is_same = standing.container == known["container"]
    if standing.restarts is None:
        return int(is_same)  # else its supervisor was started anew
    before = known["restarts"] if is_same else 0
    return standing.restarts - (before if standing.restarts >= before else 0)

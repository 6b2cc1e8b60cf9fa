"""One service: how it is, what makes it doubtful, and when it is restarted.

Two pieces of evidence are needed for a restart: a request that failed and a deep probe that fails
too, or two probes. `round` is called again and again, and does at most one thing that takes time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from proxy_app.jobs import ActiveJobError
from proxy_app.jobs.forms import FormError
from proxy_app.jobs.project import ProjectError
from proxy_app.jobs.states import ACTIVE, State
from proxy_app.services import Health, Reports, Service, Verdict
from proxy_app.services.health import (
    ABSENT,
    GIVEN_UP,
    READY,
    RESTARTING,
    STOPPED,
    SUSPECT,
    UNREACHABLE,
    WARMING,
)
from proxy_app.store import Job, ServiceState
from proxy_app.watch.clocks import Moment
from proxy_app.watch.probing import Check, Found
from proxy_app.watch.records import RESTARTS, WITHIN_S, Records
from proxy_app.watch.standing import At, Standing

log = logging.getLogger(__name__)

WATCH = "the watch process"
"""Who orders its jobs."""
LOOK_S = 2.0
"""Between two looks at /health, and at the jobs."""
SOON_S = 0.5
"""The same while it is about to be ready."""
CONFIRM_S = 2.0
"""After a failure that nobody reported, before the probe that decides."""
SILENT_S = 5.0
"""How long nobody may listen where somebody did; what ended may be started again meanwhile."""
AGAIN_S = 30.0
"""Between two probes of a service that is neither well nor to be restarted."""
REPROBE_S = 10.0
"""After a probe that cleared a service, before the next one for a failed request: a client may send
one broken recording for ever."""
MOST_STANDING_S = 30.0
"""Between two questions to the host of a service that does not answer, at most; at first LOOK_S."""
_LONGEST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Senses:
    """What can be found out of the service."""

    health: Callable[[], Health]
    """What it says of itself."""
    check: Callable[[], Check]
    """What a deep probe finds."""
    standing: Callable[[], Standing]
    """What its host says."""
    in_use: Callable[[], bool]
    """Whether a request of the gateway is there, which ends it at its time limit."""


class Hands(Protocol):
    """What can be done about it; jobs.desk does."""

    def last_on(self, service: Service) -> Job | None:
        """The newest job on it."""

    def switch(self, verb: str, service: Service, *, by: str, why: str) -> Job:
        """Order a job that starts, stops or restarts it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings, all in seconds."""

    probe_every_s: float
    stuck_s: float
    load_limit_s: float


class Watcher:
    """Watches one service as it is registered."""

    def __init__(
        self,
        service: Service,
        *,
        senses: Senses,
        hands: Hands,
        records: Records,
        reports: Reports,
        terms: Terms,
        now: Callable[[], Moment],
    ) -> None:
        self.service = service
        self._senses = senses
        self._hands = hands
        self._records = records
        self._reports = reports
        self._terms = terms
        self._now = now
        moment = now()
        self._row = records.state(service.name) or ServiceState(
            name=service.name, state=UNREACHABLE, since=moment.wall, detail="", known={}
        )
        self._row.checking = False
        self._since = self._look_at = self._due = moment.monotonic
        if self._row.state == READY and self._row.last_check:
            # The time may have jumped: the next probe is never farther away than usual.
            left = self._row.last_check["at"] + terms.probe_every_s - moment.wall
            self._due += min(terms.probe_every_s, max(0.0, left))
        failed_at = self._failed_at()
        checked_at = (self._row.last_check or {}).get("at", 0.0)
        self._failed_seen = failed_at if (failed_at or 0.0) <= checked_at else None
        self._asked_seen = reports.asked_at(service.name)
        self._answered_seen = reports.answered_at(service.name)
        self._cleared_at = self._since - REPROBE_S
        self._probe_failed = self._row.state in (RESTARTING, GIVEN_UP)
        self._late = 0
        job = self._last_job()
        self._job_seen = job.id if job and job.state not in ACTIVE else None
        self._tells_progress = False
        self._progress: float | None = None
        self._advanced_at = self._since
        self._health: Health | None = None
        self._silent_since: float | None = None
        self._standing_at = self._since
        self._standing_every_s = LOOK_S
        self._new_life = ("", self._since)
        """A life in which it has not been ready yet, and when that was seen first."""
        if self._row.state == RESTARTING:
            self._row.state, self._row.known = WARMING, {}
        self._is_saved = False
        self._save()

    # What happens.

    def round(self) -> None:
        """See what is new, and do what follows from it."""
        if not self._is_saved:  # the database was away
            self._save()
        is_asked = self._is_asked()
        failure = None if is_asked else self._new_failure()
        if not is_asked and failure is None and self._time() < self._look_at:
            return
        is_soon = self._row.state in (RESTARTING, WARMING)  # people wait for it
        self._look_at = self._time() + (SOON_S if is_soon else LOOK_S)
        if self._is_worked_on():
            self._mark_seen()
        elif is_asked:
            self._probe()
        elif failure is not None and self._row.state in (READY, SUSPECT):
            if self._row.state == READY:
                self._doubt(failure)
                self._probe()
        else:
            self._look()

    def _is_asked(self) -> bool:
        asked = self._reports.asked_at(self.service.name)
        if asked == self._asked_seen:
            return False
        self._asked_seen = asked
        return True

    def _failed_at(self) -> float | None:
        failure = self._reports.last_failure(self.service.name)
        return failure.at if failure else None

    def _new_failure(self) -> str | None:
        """What a request met that failed since the last probe, once it is time for another one."""
        failure = self._reports.last_failure(self.service.name)
        if failure is None or failure.at == self._failed_seen:
            return None
        if self._time() - self._cleared_at < REPROBE_S:
            return None
        self._failed_seen = failure.at
        return failure.reason

    def _mark_seen(self) -> None:
        """What happened up to now was to be expected, or is covered by the probe just made."""
        self._failed_seen = self._failed_at()

    # Jobs.

    def _last_job(self) -> Job | None:
        try:
            return self._hands.last_on(self.service)
        except (FormError, ProjectError):
            return None  # no job can be on what has no container

    def _is_worked_on(self) -> bool:
        """Whether a job is at work on it: then it is let alone, and nothing is counted."""
        job = self._last_job()
        if job is None or job.id == self._job_seen:
            return False
        if job.state not in ACTIVE:
            self._job_seen = job.id
            self._after(job)
            return False
        if job.kind in ("service.start", "service.restart") and self._row.state != RESTARTING:
            self._set(RESTARTING, f"Job {job.number} is at work on it.")
        return True

    def _after(self, job: Job) -> None:
        """A job on it is over, however: what it changed was not Docker's doing."""
        is_stop = job.kind == "service.stop"
        self._row.known = {}
        self._late = 0
        self._due = self._standing_at = self._time()
        self._new_life = ("", self._time())
        if is_stop and job.by == WATCH:
            self._row.known = {"stopped": True}
            self._save()
            return
        if job.by != WATCH and job.state == State.SUCCEEDED:
            self._records.forgive(self.service.name)
        self._probe_failed = False
        self._set(STOPPED if is_stop else WARMING, job.reason)

    # Looks.

    def _look(self) -> None:
        before, health = self._health, self._senses.health()
        self._health = health
        if health.state == UNREACHABLE:
            self._look_at_host()
            return
        self._silent_since = None
        self._standing_every_s = LOOK_S
        self._standing_at = self._time()
        self._tells_progress |= health.tells_progress
        if health.state == WARMING:
            self._is_loading(health)
        elif self._row.state == READY:
            self._is_ready(health, before)
        elif self._has_answered():
            self._is_well("It gave a good answer.")
        elif self._row.state not in (SUSPECT, GIVEN_UP) or self._is_due(health):
            self._probe()

    def _is_ready(self, health: Health, before: Health | None) -> None:
        """It was ready: is there a reason to doubt that, or time to look?"""
        if before and (health.uptime_s or 0.0) < (before.uptime_s or 0.0) and health.uptime_s:
            self._count_restarts(self._senses.standing())
            self._set(WARMING, "It was started again.")
            self._probe()
        elif health.state == SUSPECT and before is not None and before.state == READY:
            self._doubt(health.detail)
            self._probe()
        elif self._is_stuck(health):
            self._doubt(f"It is at work, without progress for {self._terms.stuck_s:.0f} s.")
            self._advanced_at = self._time()
            self._probe()
        elif self._is_due(health):
            self._probe()

    def _is_due(self, health: Health) -> bool:
        """Whether it is time for a probe. One behind others' work waits, but not for ever."""
        late_s = self._time() - self._due
        if self._row.state == READY and late_s > 2 * self._terms.probe_every_s:
            return True
        waits = self._row.state == READY or self._late
        return late_s >= 0 and not (waits and self._is_busy(health))

    def _is_loading(self, health: Health) -> None:
        if self._row.state in (READY, SUSPECT):
            self._count_restarts(self._senses.standing())
        if self._row.state != WARMING:
            self._set(WARMING, health.detail)
        elif self._time() - self._since > self._terms.load_limit_s:
            self._heal(f"It has been loading for {self._terms.load_limit_s:.0f} s: {health.detail}")
        else:
            self._set(WARMING, health.detail)

    def _has_answered(self) -> bool:
        """Whether it has given a request a good answer since it became doubtful.

        It counts as a probe then. Not otherwise: a broken model answers 200, with nonsense.
        """
        answered = self._reports.answered_at(self.service.name)
        is_new = answered != self._answered_seen
        self._answered_seen = answered
        return is_new and self._row.state == SUSPECT and not self._probe_failed

    # Busy is not wedged.

    def _is_busy(self, health: Health) -> bool:
        """Whether it is at work that advances, as far as that can be known."""
        if not self._tells_progress:
            return self._senses.in_use()
        return bool(health.in_flight) and not self._is_stuck(health)

    def _is_stuck(self, health: Health) -> bool:
        if not health.in_flight or health.progress is None or health.progress != self._progress:
            self._progress = health.progress
            self._advanced_at = self._time()
        return self._tells_progress and self._time() - self._advanced_at > self._terms.stuck_s

    # Probes.

    def _probe(self) -> None:
        self._row.checking = True
        self._save()
        try:
            check = self._senses.check()
        finally:
            self._row.checking = False
        self._mark_seen()
        self._keep(check)
        if self._is_worked_on():
            return  # somebody has begun to work on it meanwhile, which it may have met
        match check.found:
            case Found.GOOD:
                self._is_well(check.detail)
            case Found.BUSY:
                self._says_nothing(check)
            case Found.LATE:
                self._is_late(check)
            case Found.REFUSED:
                self._late, self._due = 0, self._time() + self._terms.probe_every_s
                self._set(SUSPECT, check.detail)
            case Found.SILENT if self._senses.health().state == UNREACHABLE:
                self._standing_at = self._time()
                self._look_at_host()
            case _:
                self._fails(check.detail)

    def _keep(self, check: Check) -> None:
        if check.found is not Found.BUSY:
            self._row.last_check = {
                "at": self._now().wall,
                "ok": check.found is Found.GOOD,
                "took_s": check.took_s,
                "heard": check.heard,
                "expected": check.expected,
                "detail": check.detail,
            }
        self._save()

    def _is_well(self, detail: str) -> None:
        self._reports.answered(self.service.name)
        self._answered_seen = self._reports.answered_at(self.service.name)
        self._late = 0
        self._probe_failed = False
        self._due = self._time() + self._terms.probe_every_s
        if self._row.state == SUSPECT:
            self._cleared_at = self._time()
        if self._row.state != READY:
            standing = self._senses.standing()
            self._count_restarts(standing)
            self._row.known = {**self._row.known, "ready_in": standing.life}
        self._set(READY, detail)

    def _says_nothing(self, check: Check) -> None:
        """It is full, or has dropped its models to save memory: it answers, and that is all."""
        if self._row.state in (SUSPECT, GIVEN_UP):
            self._due = self._time() + AGAIN_S
        else:
            self._due = self._time() + self._terms.probe_every_s
            self._set(READY, check.detail)

    def _is_late(self, check: Check) -> None:
        """A probe got no answer in time. One alone never restarts: it may be busy for others."""
        before, health = self._progress, self._senses.health()
        self._is_stuck(health)  # which remembers how far the work is
        self._due = self._time() + CONFIRM_S
        if health.state == UNREACHABLE:
            self._standing_at = self._time()
            self._look_at_host()
        elif None not in (before, health.progress) and health.progress != before:
            self._due = self._time() + AGAIN_S  # its work advances
        elif not self._tells_progress and self._senses.in_use():
            self._late = 1  # the next one waits until that is over
        elif self._late:
            self._fails(check.detail)
        else:
            self._late = 1
            self._doubt(check.detail)

    def _fails(self, detail: str) -> None:
        """A probe failed. The first piece of evidence makes it doubtful, the second one decides."""
        is_sure = self._row.state in (SUSPECT, GIVEN_UP)
        self._probe_failed = True
        if is_sure:
            self._heal(detail)
        else:
            self._doubt(detail)

    def _doubt(self, detail: str) -> None:
        self._due = self._time() + CONFIRM_S
        self._answered_seen = self._reports.answered_at(self.service.name)
        self._set(SUSPECT, detail)

    # Nobody answers.

    def _look_at_host(self) -> None:
        """What its host says of a service that does not answer; asked ever less often."""
        if self._silent_since is None:
            self._silent_since = self._time()
        if self._time() < self._standing_at:
            return
        standing = self._senses.standing()
        self._standing_at = self._time() + self._standing_every_s
        self._standing_every_s = min(2 * self._standing_every_s, MOST_STANDING_S)
        match standing.at:
            case At.ABSENT:
                self._row.known = {}
                self._set(ABSENT, standing.detail)
            case At.UNKNOWN:
                self._set(UNREACHABLE, standing.detail)
            case At.STOPPED if self._row.state == GIVEN_UP and self._row.known.get("stopped"):
                if self._records.left(self.service.name):
                    self._heal("It was stopped, as it had ended again and again.")
            case At.STOPPED:
                self._row.known = {}
                self._set(STOPPED, standing.detail)
            case At.CRASHED:
                self._is_down(standing.detail)
            case At.RESTARTING | At.RUNNING:
                self._comes_back(standing)

    def _is_down(self, detail: str) -> None:
        """Nobody listens, and nothing is known that would change that; for a moment that may be."""
        if self._row.state != GIVEN_UP:
            self._standing_at = self._time() + LOOK_S
        if self._time() - (self._silent_since or self._time()) > SILENT_S:
            self._heal(detail)
        elif self._row.state == READY:
            self._doubt(detail)

    def _comes_back(self, standing: Standing) -> None:
        """It runs, or is about to: does it load, or does nobody listen any more?"""
        if self._count_restarts(standing):
            self._give_up(f"It ends again and again: {standing.detail}", stop=True)
        elif standing.at is At.RESTARTING:
            self._set(RESTARTING, standing.detail)
        elif standing.life == self._row.known.get("ready_in"):
            self._is_down("It runs, and nobody listens there any more.")
        else:
            if self._new_life[0] != standing.life:
                self._new_life = (standing.life, self._time())
            if self._time() - self._new_life[1] > self._terms.load_limit_s:
                self._heal("It runs, and does not get ready.")
            elif self._row.state != GIVEN_UP or self._records.left(self.service.name):
                self._set(WARMING, "It is starting.")

    def _count_restarts(self, standing: Standing) -> bool:
        """Count what its host started again by itself; whether the budget had less."""
        known = self._row.known
        if standing.at in (At.UNKNOWN, At.ABSENT):
            return False
        made = 0
        if "life" in known and standing.life != known["life"]:
            made = _made(standing, known)
        left = self._records.left(self.service.name)
        for _ in range(min(made, RESTARTS)):
            by = "supervisor" if standing.restarts is None else "docker"
            self._records.add_restart(self.service.name, by=by)
        self._row.known = {
            **known,
            "life": standing.life,
            "container": standing.container,
            "restarts": standing.restarts,
        }
        return made > left

    # What is done about it.

    def _heal(self, reason: str) -> None:
        """Restart it, if that is allowed and the budget has room."""
        name = self.service.name
        self._probe_failed = True
        if not self._records.may_restart(self.service):
            self._due = self._time() + AGAIN_S
            self._set(SUSPECT, f"{reason} It is not restarted: automatic restarts are off.")
            return
        if not self._records.left(name):
            self._give_up(reason)
            return
        self._records.add_restart(name, by="watch")
        try:
            job = self._hands.switch("restart", self.service, by=WATCH, why=reason)
        except ActiveJobError:
            self._records.take_back(name)
            self._set(SUSPECT, reason)
        except (FormError, ProjectError) as error:
            self._records.take_back(name)
            self._due = self._time() + AGAIN_S
            self._set(SUSPECT, f"{reason} It cannot be restarted: {error}")
        else:
            log.warning("%s: job %d restarts it: %s", name, job.number, reason)
            self._set(RESTARTING, reason)

    def _give_up(self, reason: str, *, stop: bool = False) -> None:
        self._due = self._time() + AGAIN_S
        if self._row.state != GIVEN_UP:
            log.error("%s is given up: %s", self.service.name, reason)
        minutes = WITHIN_S / 60
        said = f"{RESTARTS} restarts in {minutes:.0f} minutes did not help: {reason}"
        self._set(GIVEN_UP, said if self._row.state != GIVEN_UP else self._row.detail)
        if not stop:
            return
        try:
            self._hands.switch("stop", self.service, by=WATCH, why=said)
        except (ActiveJobError, FormError, ProjectError) as error:
            log.warning("%s cannot be stopped: %s", self.service.name, error)

    def _time(self) -> float:
        return self._now().monotonic

    def _set(self, state: str, detail: str) -> None:
        detail = detail[:_LONGEST_DETAIL]
        if (state, detail) == (self._row.state, self._row.detail):
            return
        if state != self._row.state:
            self._row.since = self._now().wall
            self._since = self._time()
            self._row.state = state
        self._row.detail = detail
        self._save()

    def _save(self) -> None:
        row, self._is_saved = self._row, False
        refuses = row.state in (RESTARTING, GIVEN_UP) or (
            row.state == SUSPECT and self._probe_failed
        )
        self._reports.tell(self.service.name, Verdict(row.state, row.detail, refuses))
        self._records.save(row)
        self._is_saved = True


def _made(standing: Standing, known: Mapping[str, Any]) -> int:
    """How many restarts led from one life to another, those that a person made left out."""
    is_same = standing.container == known["container"]
    if standing.restarts is None:
        return int(is_same)  # else its supervisor was started anew
    before = known["restarts"] if is_same else 0
    return standing.restarts - (before if standing.restarts >= before else 0)

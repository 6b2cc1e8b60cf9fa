"""One service: how it is, what makes it doubtful, and when it is restarted.

Two pieces of evidence are needed for a restart: a request that failed and a deep probe that fails
too, or two probes. `round` is called again and again, and does at most one thing that takes time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy_app.jobs.forms import FormError
from proxy_app.jobs.project import ProjectError
from proxy_app.jobs.states import ACTIVE, State
from proxy_app.services import Health, Reports, Service
from proxy_app.services.health import (
    GIVEN_UP,
    READY,
    RESTARTING,
    STOPPED,
    SUSPECT,
    UNREACHABLE,
    WARMING,
)
from proxy_app.store import Job
from proxy_app.watch.absence import Absence
from proxy_app.watch.clocks import Moment
from proxy_app.watch.condition import CONFIRM_S, Condition
from proxy_app.watch.healing import AGAIN_S, WATCH, Hands, Healer
from proxy_app.watch.probing import Check, Found
from proxy_app.watch.records import Records
from proxy_app.watch.standing import Standing
from proxy_app.watch.work import Work

LOOK_S = 2.0
"""Between two looks at /health, and at the jobs."""
SOON_S = 0.5
"""The same while it is about to be ready."""
REPROBE_S = 10.0
"""After a probe that cleared a service, before the next one for a failed request: a client may send
one broken recording for ever."""


@dataclass(frozen=True, slots=True)
class Senses:
    """What can be found out of the service."""

    health: Callable[[], Health]
    """What it says of itself."""
    check: Callable[[], Check]
    """What a deep probe finds."""
    standing: Callable[[], Standing]
    """What its host says."""
    computes: Callable[[], bool]
    """Whether its device is at work, for whomever."""
    in_use_s: Callable[[], float | None]
    """For how long a request of the gateway has been there, which ends it at its time limit."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings, all in seconds."""

    probe_every_s: float
    stuck_s: float
    load_limit_s: float


class Watcher:
    """Watches one service as it is registered.

    Args:
        service: which one.
        senses: how it is looked at.
        hands: what can be done.
        names: those of all services that are restarted with it, its own among them.
        records: the database.
        reports: what the gateway met.
        terms: the settings.
        now: the clock.
    """

    def __init__(
        self,
        service: Service,
        *,
        senses: Senses,
        hands: Hands,
        names: Callable[[], list[str]],
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
        self._condition = condition = Condition(service, records, reports, now)
        self._healer = Healer(condition, hands, records, names)
        self._absence = Absence(
            condition,
            self._healer,
            records,
            standing=senses.standing,
            in_use_s=senses.in_use_s,
            load_limit_s=terms.load_limit_s,
        )
        self._work = Work(
            condition,
            in_use_s=senses.in_use_s,
            failed_at=self._failed_at,
            stuck_s=terms.stuck_s,
        )
        row = condition.row
        self._look_at = condition.due
        if row.state == READY and row.last_check:
            # The time may have jumped: the next probe is never farther away than usual.
            left = row.last_check["at"] + terms.probe_every_s - condition.wall()
            condition.due += min(terms.probe_every_s, max(0.0, left))
        failed_at = self._failed_at()
        checked_at = (row.last_check or {}).get("at", 0.0)
        self._failed_seen = failed_at if (failed_at or 0.0) <= checked_at else None
        self._asked_seen = min(checked_at, reports.asked_at(service.name))
        self._cleared_at = condition.since - REPROBE_S
        self._refuses_probes = False
        self._job_seen: int | None = None
        """The number of the newest job that is over; none, while that cannot be known."""
        self._health: Health | None = None
        self._was_restarting_since = row.since if row.state == RESTARTING else None
        if row.state == RESTARTING:
            row.state, row.known = WARMING, {}
        condition.save()

    # What happens.

    def round(self) -> None:
        """See what is new, and do what follows from it."""
        with self._condition.watched():
            self._round()

    def withdraw(self) -> None:
        """A round failed, and with it what is known: until the next one nothing is told."""
        self._condition.withdraw()

    def _round(self) -> None:
        self._condition.save_if_not_saved()
        is_asked = self._is_asked()
        failure = None if is_asked else self._new_failure()
        if not is_asked and failure is None and self._condition.time() < self._look_at:
            return
        is_soon = self._condition.state in (RESTARTING, WARMING)  # people wait for it
        self._look_at = self._condition.time() + (SOON_S if is_soon else LOOK_S)
        if self._is_worked_on():
            self._mark_seen()
        elif is_asked:
            self._probe()
        elif failure is not None and self._condition.state in (READY, SUSPECT):
            if self._condition.state == READY:
                self._condition.doubt(failure)
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
        if self._condition.time() - self._cleared_at < REPROBE_S:
            return None
        self._failed_seen = failure.at
        return failure.reason

    def _mark_seen(self) -> None:
        """What happened up to now was to be expected, or is covered by the probe just made."""
        self._failed_seen = self._failed_at()

    # Jobs.

    def _is_worked_on(self) -> bool:
        """Whether a job is at work on it: then it is let alone, and nothing is counted."""
        try:
            job = self._hands.last_on(self.service)
        except (FormError, ProjectError):
            return False  # no job can be on what has no container
        is_over = job is not None and job.state not in ACTIVE
        if self._job_seen is None:  # what was over before we could look is no news
            self._job_seen = job.number - (not is_over or self._is_awaited(job)) if job else 0
        if job is None or job.number <= self._job_seen:
            return False
        if is_over:
            self._job_seen = job.number
            self._after(job)
            return False
        is_start = job.kind in ("service.start", "service.restart")
        if is_start and self._condition.state != RESTARTING:
            self._condition.set(RESTARTING, f"Job {job.number} is at work on it.")
        return True

    def _is_awaited(self, job: Job) -> bool:
        """Whether it was at work when the last watch process ended."""
        since, ended = self._was_restarting_since, job.finished_at
        return since is not None and ended is not None and ended >= since

    def _after(self, job: Job) -> None:
        """A job on it is over, however it ended."""
        condition, is_stop = self._condition, job.kind == "service.stop"
        left_undone = not is_stop and job.state != State.SUCCEEDED
        self._absence.job_is_over(left_undone=left_undone)
        self._healer.job_is_over()
        self._work.is_well()
        condition.due = condition.time()
        if is_stop and job.by == WATCH:
            condition.row.known = {"stopped": job.state == State.SUCCEEDED}
            condition.save()
            return
        if job.by != WATCH and job.state == State.SUCCEEDED:
            self._records.forgive(self.service.name)
        # Of a restart of ours that did not come to its end a probe has to tell what it did.
        condition.probe_failed = left_undone and job.by == WATCH
        condition.set(STOPPED if is_stop else SUSPECT if left_undone else WARMING, job.reason)

    # Looks.

    def _look(self) -> None:
        before, health = self._health, self._senses.health()
        self._health = health
        if health.state == UNREACHABLE:
            self._absence.look()
            return
        self._absence.is_over()
        self._work.told_by(health)
        if health.state == WARMING:
            self._is_loading(health)
        elif self._is_cleared():
            self._is_well("It gave a good answer.")
        elif self._condition.state == READY:
            self._is_ready(health, before)
        elif self._condition.state not in (SUSPECT, GIVEN_UP) or self._is_due(health):
            self._probe()

    def _is_cleared(self) -> bool:
        """Whether it was doubtful, and has given a request a good answer since."""
        has_answered = self._condition.has_answered()
        return has_answered and (self._condition.state == SUSPECT or self._work.was_late)

    def _is_ready(self, health: Health, before: Health | None) -> None:
        """It was ready: is there a reason to doubt that, or time to look?"""
        condition = self._condition
        if before and (health.uptime_s or 0.0) < (before.uptime_s or 0.0) and health.uptime_s:
            self._absence.count_restarts()
            condition.set(WARMING, "It was started again.")
            self._probe()
        elif health.state == SUSPECT and (before is None or before.state == READY):
            condition.doubt(health.detail)
            self._probe()
        elif self._work.is_stuck(health):
            stuck_s = self._terms.stuck_s
            condition.doubt(f"It is at work, without progress for {stuck_s:.0f} s.")
            self._work.is_probed()
            self._probe()
        elif self._is_due(health):
            self._probe()

    def _is_due(self, health: Health) -> bool:
        """Whether it is time for a probe. One behind others' work waits, but not for ever."""
        late_s = self._condition.time() - self._condition.due
        is_ready = self._condition.state == READY
        if is_ready and late_s > 2 * self._terms.probe_every_s:
            return True
        waits = is_ready or self._work.was_late
        return late_s >= 0 and not (waits and self._work.is_busy(health))

    def _is_loading(self, health: Health) -> None:
        condition, limit_s = self._condition, self._terms.load_limit_s
        if condition.state in (READY, SUSPECT):
            self._absence.count_restarts()
        if condition.state == WARMING and condition.time() - condition.since > limit_s:
            self._healer.heal(f"It has been loading for {limit_s:.0f} s: {health.detail}")
        else:
            condition.set(WARMING, health.detail)

    # Probes.

    def _probe(self) -> None:
        condition, job_seen = self._condition, self._job_seen
        condition.row.checking = True
        try:
            condition.save()
            condition.has_answered()
            check = self._senses.check()
        finally:
            condition.row.checking = False
        self._mark_seen()
        self._keep(check)
        if self._is_worked_on() or self._job_seen != job_seen:
            return  # somebody has worked on it meanwhile, which it may have met
        had_refused, self._refuses_probes = self._refuses_probes, check.found is Found.REFUSED
        match check.found:
            case Found.GOOD:
                self._is_well(check.detail)
            case Found.BUSY:
                self._says_nothing(check)
            case Found.LATE:
                self._is_late(check)
            case Found.REFUSED:
                self._work.is_well()
                condition.due = condition.time() + self._terms.probe_every_s
                condition.set(SUSPECT, check.detail)
            case Found.SILENT if self._senses.health().state == UNREACHABLE:
                self._absence.look_now()
            case _ if had_refused:
                condition.doubt(check.detail)  # that was no evidence
            case _:
                self._fails(check.detail)

    def _keep(self, check: Check) -> None:
        if check.found is not Found.BUSY:
            self._condition.row.last_check = {
                "at": self._condition.wall(),
                "ok": check.found is Found.GOOD,
                "took_s": check.took_s,
                "heard": check.heard,
                "expected": check.expected,
                "detail": check.detail,
            }
        self._condition.save()

    def _is_well(self, detail: str) -> None:
        condition = self._condition
        condition.answers()
        self._work.is_well()
        condition.probe_failed = False
        condition.due = condition.time() + self._terms.probe_every_s
        if condition.state == SUSPECT:
            self._cleared_at = condition.time()
        if condition.state != READY:
            self._absence.is_ready()
        condition.set(READY, detail)

    def _says_nothing(self, check: Check) -> None:
        """It is full, or has dropped its models to save memory: it answers, and that is all."""
        condition = self._condition
        if self._work.is_stuck(self._senses.health()):
            self._is_late(check)  # full of what does not advance
        elif condition.state in (SUSPECT, GIVEN_UP):
            condition.due = condition.time() + AGAIN_S
        else:
            condition.due = condition.time() + self._terms.probe_every_s
            condition.set(READY, check.detail)

    def _is_late(self, check: Check) -> None:
        """A probe got no answer in time. One alone never restarts: it may be busy for others."""
        condition, health = self._condition, self._senses.health()
        has_advanced = self._work.has_advanced(health)
        condition.due = condition.time() + CONFIRM_S
        if health.state == UNREACHABLE:
            self._absence.look_now()
        elif condition.has_answered():
            self._is_well("It was late, and gave a good answer meanwhile.")
        elif has_advanced:
            condition.due = condition.time() + AGAIN_S
        elif self._work.is_in_use():
            self._work.is_late()  # the next one waits until that is over
        elif self._work.was_late and self._work.may_be_others(self._senses.computes):
            condition.due = condition.time() + AGAIN_S
        elif self._work.was_late:
            self._fails(check.detail)
        else:
            self._work.is_late()
            condition.doubt(check.detail)

    def _fails(self, detail: str) -> None:
        """A probe failed. The first piece of evidence makes it doubtful, the second one decides."""
        is_sure = self._condition.state in (SUSPECT, GIVEN_UP)
        self._condition.probe_failed = True
        if is_sure:
            self._healer.heal(detail)
        else:
            self._condition.doubt(detail)

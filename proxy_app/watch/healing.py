"""What is done about a service that does not work: a restart, if its budget has room."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from proxy_app.jobs import ActiveJobError
from proxy_app.jobs.forms import FormError
from proxy_app.jobs.project import ProjectError
from proxy_app.services import Service
from proxy_app.services.health import GIVEN_UP, RESTARTING, SUSPECT
from proxy_app.store import Job
from proxy_app.watch.condition import Condition
from proxy_app.watch.records import RESTARTS, WITHIN_S, Records

log = logging.getLogger(__name__)

WATCH = "the watch process"
"""Who orders its jobs."""
AGAIN_S = 30.0
"""Between two probes of a service that is neither well nor to be restarted."""


class Hands(Protocol):
    """What can be done about it; jobs.desk does."""

    def last_on(self, service: Service) -> Job | None:
        """The newest job on it."""

    def switch(self, verb: str, service: Service, *, by: str, why: str) -> Job:
        """Order a job that starts, stops or restarts it."""


class Healer:
    """Orders the jobs of the watch process."""

    def __init__(
        self,
        condition: Condition,
        hands: Hands,
        records: Records,
        names: Callable[[], list[str]],
    ) -> None:
        self._condition = condition
        self._service = condition.service
        self._hands = hands
        self._records = records
        self._names = names
        self._counted: list[str] = []
        """Whose budgets have a restart for which no job could be made: the database was away."""

    def job_is_over(self) -> None:
        """One is there, whatever was heard when it was ordered."""
        self._counted = []

    def heal(self, reason: str) -> None:
        """Restart it, if that is allowed and the budget has room."""
        name, condition = self._service.name, self._condition
        condition.probe_failed = True
        if not self._records.may_restart(self._service):
            condition.due = condition.time() + AGAIN_S
            said = f"{reason} It is not restarted: automatic restarts are off."
            condition.set(SUSPECT, said)
            return
        self._take_back()
        if not self._records.left(name):
            self.give_up(reason)
            return
        names = self._names()
        self._records.add_restart(*names, by="watch")
        self._counted = names
        try:
            job = self._hands.switch("restart", self._service, by=WATCH, why=reason)
        except ActiveJobError:
            self._take_back()
            condition.set(SUSPECT, reason)
        except (FormError, ProjectError) as error:
            self._take_back()
            condition.due = condition.time() + AGAIN_S
            condition.set(SUSPECT, f"{reason} It cannot be restarted: {error}")
        else:
            self._counted = []
            log.warning("%s: job %d restarts it: %s", name, job.number, reason)
            condition.set(RESTARTING, reason)

    def _take_back(self) -> None:
        self._records.take_back(*self._counted)
        self._counted = []

    def give_up(self, reason: str, *, stop: bool = False) -> None:
        """Let it be until there is room again, or a person acts; `stop` it where Docker goes on."""
        condition, name = self._condition, self._service.name
        condition.due = condition.time() + AGAIN_S
        is_news = condition.state != GIVEN_UP
        if is_news:
            log.error("%s is given up: %s", name, reason)
        minutes = WITHIN_S / 60
        said = f"{RESTARTS} restarts in {minutes:.0f} minutes did not help: {reason}"
        condition.set(GIVEN_UP, said if is_news else condition.row.detail)
        if not stop or not self._records.may_restart(self._service):
            return  # whom we may not start we do not stop
        try:
            self._hands.switch("stop", self._service, by=WATCH, why=said)
        except (ActiveJobError, FormError, ProjectError) as error:
            log.warning("%s cannot be stopped: %s", name, error)

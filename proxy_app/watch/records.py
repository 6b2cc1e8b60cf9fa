"""What the watch process knows, in the database: states, restarts, and what people have set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.engine import CursorResult

from proxy_app.services import Service, digest
from proxy_app.store import ServiceRestart, ServiceSetting, ServiceState, Store
from proxy_app.watch import clocks
from proxy_app.watch.clocks import Moment, elapsed_s

RESTARTS = 3
WITHIN_S = 1800.0
"""The budget: so many restarts of a service in so many seconds, whoever makes them."""


class Records:
    """Reads and writes them; every process may read, and the watch process alone writes states.

    Args:
        store: the database.
        now: the clock.
    """

    def __init__(self, store: Store, now: Callable[[], Moment] = clocks.now) -> None:
        self._store = store
        self._now = now

    # States.

    def states(self) -> dict[str, ServiceState]:
        """How all services are, by their names."""
        with self._store.session() as session:
            return {state.name: state for state in session.scalars(select(ServiceState))}

    def state(self, name: str) -> ServiceState | None:
        """How one service was found last."""
        with self._store.session() as session:
            return session.get(ServiceState, name)

    def save(self, state: ServiceState) -> None:
        """Write down how a service is."""
        names = [column.name for column in ServiceState.__table__.columns]
        self._write(ServiceState, state.name, {name: getattr(state, name) for name in names})

    def forget_others(self, names: Iterable[str]) -> None:
        """Forget the services that are registered no more."""
        with self._store.session() as session:
            session.execute(delete(ServiceState).where(ServiceState.name.not_in(list(names))))

    # The budget.

    def restarts_left(self) -> Mapping[str, int]:
        """How many restarts each service has left; RESTARTS for those that are not named."""
        now = self._now()
        with self._store.session() as session:
            made = Counter(
                restart.service
                for restart in session.scalars(select(ServiceRestart))
                if elapsed_s(_moment(restart), now) < WITHIN_S
            )
        return {name: max(0, RESTARTS - count) for name, count in made.items()}

    def left(self, name: str) -> int:
        """How many restarts one service has left."""
        return self.restarts_left().get(name, RESTARTS)

    def add_restart(self, *names: str, by: str) -> None:
        """Count a restart of all these at once; those that count no more are forgotten."""
        now = self._now()
        moment = {"at": now.wall, "boot_id": now.boot_id, "monotonic": now.monotonic, "by": by}
        with self._store.session() as session:
            session.add_all(ServiceRestart(service=name, **moment) for name in names)
            for restart in session.scalars(select(ServiceRestart)):
                if elapsed_s(_moment(restart), now) >= WITHIN_S:
                    session.delete(restart)

    def take_back(self, *names: str) -> None:
        """The restart that was counted last was not made."""
        newest = (
            select(func.max(ServiceRestart.number))
            .where(ServiceRestart.service.in_(names))
            .group_by(ServiceRestart.service)
        )
        if not names:
            return
        with self._store.session() as session:
            session.execute(delete(ServiceRestart).where(ServiceRestart.number.in_(newest)))

    def forgive(self, name: str) -> None:
        """A person has taken the matter in hand: the budget is whole again."""
        with self._store.session() as session:
            session.execute(delete(ServiceRestart).where(ServiceRestart.service == name))

    # What people have set.

    def settings(self) -> dict[str, ServiceSetting]:
        """What is set, by the services' names."""
        with self._store.session() as session:
            return {setting.name: setting for setting in session.scalars(select(ServiceSetting))}

    def may_restart(self, service: Service) -> bool:
        """Whether a service may be restarted when it is stuck."""
        with self._store.session() as session:
            setting = session.get(ServiceSetting, service.name)
        chosen = setting.auto_restart if setting else None
        return service.auto_restart if chosen is None else chosen

    def set_auto_restart(self, name: str, *, on: bool) -> None:
        """Let a service be restarted when it is stuck, or not."""
        self._set(name, auto_restart=on)

    def remove(self, service: Service) -> None:
        """Hide a service for as long as it is registered as it is now."""
        self._set(service.name, removed=digest(service))

    def removed(self) -> dict[str, str]:
        """The digests of what is hidden, by the services' names."""
        return {name: it.removed for name, it in self.settings().items() if it.removed}

    def _set(self, name: str, **values: object) -> None:
        self._write(ServiceSetting, name, values)

    def _write(self, table: type[ServiceState | ServiceSetting], name: str, values: Any) -> None:  # noqa: ANN401 - columns
        """Change a row, or make it. It begins with a write: SQLite refuses one after a read."""
        with self._store.session() as session:
            changed = session.execute(update(table).where(table.name == name).values(**values))
            assert isinstance(changed, CursorResult)
            if not changed.rowcount:
                session.add(table(**{**values, "name": name}))


def _moment(restart: ServiceRestart) -> Moment:
    return Moment(restart.boot_id, restart.monotonic, restart.at)

"""A backup's rows as they may go back: jobs that everything else can read, and none at work."""

from __future__ import annotations

import time
from typing import Any

from proxy_app.jobs.ledger import HOST, PREVIEW, SERVICE
from proxy_app.jobs.states import ACTIVE, State
from proxy_app.jobs.work import ended
from proxy_app.services import health
from proxy_app.store.copies import Row

_WAS_AT_WORK = "It was queued or at work when the backup was made; what became of it is not known."
_KNOWN: dict[tuple[str, str], frozenset[str]] = {
    ("jobs", "state"): frozenset(State),
    ("jobs", "lane"): frozenset({HOST, SERVICE, PREVIEW}),
    ("service_states", "state"): frozenset(
        {
            health.READY, health.WARMING, health.SUSPECT, health.UNREACHABLE, health.ABSENT,
            health.STOPPED, health.RESTARTING, health.GIVEN_UP,
        }
    ),
}  # fmt: skip
_SHAPES: dict[tuple[str, str], type] = {
    ("jobs", "variables"): dict,
    ("jobs", "phases"): list,
    ("service_states", "known"): dict,
    ("host_states", "history"): list,
}


def settled(copied: Row) -> Row:
    """A row as it may be put into the database.

    A job that was active has no process here, and must not be started once more.

    Raises:
        ValueError: no version has written such a row.
    """
    table, row = copied
    for name, value in row.items():
        known, shape = _KNOWN.get((table, name)), _SHAPES.get((table, name), object)
        if not isinstance(value, shape) or (known and value not in known):
            raise ValueError(f"{table}.{name} is {str(value)[:40]!r}")
    if table != "jobs":
        return copied
    if not all(_is_phase(phase) for phase in row.get("phases", ())):
        raise ValueError("jobs.phases has something else in it")
    if row["state"] in ACTIVE:
        now = time.time()
        over = {"state": State.LOST.value, "reason": _WAS_AT_WORK, "finished_at": now}
        return table, row | over | {"phases": ended(row["phases"], now)}
    return copied


def _is_phase(phase: Any) -> bool:  # noqa: ANN401 - JSON
    return (
        isinstance(phase, dict)
        and phase.keys() == {"name", "state", "started_at", "finished_at"}
        and all(isinstance(phase[name], str) for name in ("name", "state"))
        and all(isinstance(phase[at], int | float | None) for at in ("started_at", "finished_at"))
    )

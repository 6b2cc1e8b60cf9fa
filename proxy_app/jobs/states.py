"""The states of a job. They go one way: nothing that is over changes again."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """As the API and the database write them."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"
    LOST = "lost"

    @property
    def next(self) -> frozenset[State]:
        """The states that may follow."""
        return _NEXT[self]

    @property
    def is_over(self) -> bool:
        """Whether nothing follows."""
        return not self.next

    def before(self) -> list[State]:
        """The states that this one may follow."""
        return [state for state in State if self in state.next]


_ENDS = frozenset(
    {State.SUCCEEDED, State.FAILED, State.CANCELED, State.TIMED_OUT, State.LOST},
)
_NEXT: dict[State, frozenset[State]] = {
    # A job fails where no process can be started for it.
    State.QUEUED: frozenset({State.RUNNING, State.CANCELED, State.FAILED}),
    State.RUNNING: (_ENDS - {State.CANCELED}) | {State.CANCELING},
    # A playbook may be through before it is told to stop.
    State.CANCELING: _ENDS,
    **{end: frozenset() for end in _ENDS},
}
ACTIVE = tuple(state for state in State if not state.is_over)
WORKED_ON = (State.RUNNING, State.CANCELING)
"""A process works on it, and holds its lock."""

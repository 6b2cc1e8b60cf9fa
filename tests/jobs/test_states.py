"""What may follow what."""

import itertools
import os

from proxy_app.jobs import Jobs, State
from proxy_app.jobs.states import ACTIVE
from tests.jobs.orders import an_order


def test_a_job_goes_where_the_states_say_and_nowhere_else(jobs: Jobs) -> None:
    for old, new in itertools.product(State, State):
        job = jobs.add(an_order(host=f"{old}-{new}"))
        lock = jobs.folder(job.id).take()  # or it would be found lost
        assert lock is not None
        for step in way_to(old):
            assert jobs.finish(job.id, step, "a reason")
        assert jobs.finish(job.id, new, "a new reason") == (new in old.next)
        found = jobs.get(job.id)
        assert found.state == (new if new in old.next else old)
        assert (found.finished_at is not None) == State(found.state).is_over
        os.close(lock)


def way_to(state: State) -> list[State]:
    if state is State.QUEUED:
        return []
    if state is State.RUNNING or State.QUEUED in state.before():
        return [state]
    return [State.RUNNING, state]


def test_what_is_over_stays_over() -> None:
    ends = [state for state in State if state.is_over]
    assert set(ends) == set(State) - set(ACTIVE)
    assert not any(end.next for end in ends)


def test_every_state_leads_to_an_end() -> None:
    def reaches(state: State) -> set[State]:
        return {state}.union(*(reaches(following) for following in state.next))

    for state in ACTIVE:
        assert reaches(state) >= {State.FAILED, State.CANCELED}

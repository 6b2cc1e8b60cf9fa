"""How jobs end is in the metrics of all processes."""

import os

from proxy_app.jobs import Jobs, State
from proxy_app.jobs.ledger import HOST
from proxy_app.telemetry import Metrics
from proxy_app.telemetry.of_jobs import CountedEnds
from tests.jobs.orders import an_order


def test_each_end_of_a_job_is_counted_once_by_how_it_was(jobs: Jobs) -> None:
    metrics = Metrics()
    ends = CountedEnds(jobs, metrics)
    old, new, queued = (jobs.add(an_order(host=name)) for name in ("one", "two", "three"))
    ends.look()
    locks = [claimed.lock for claimed in jobs.claim(HOST, 2)]
    ends.look()
    jobs.finish(old.id, State.SUCCEEDED, "It ran.")
    jobs.finish(new.id, State.FAILED, "It did not.")
    for _ in range(2):
        ends.look()
    jobs.cancel(queued.id)
    ends.look()
    counted = {
        state.value: metrics.registry.get_sample_value(
            "speech_jobs_total", {"outcome": state.value}
        )
        for state in State
    }
    running = dict.fromkeys(("queued", "running", "canceling"))
    assert counted == running | {
        "succeeded": 1, "failed": 1, "canceled": 1, "timed_out": 0, "lost": 0,
    }  # fmt: skip
    for lock in locks:
        os.close(lock)

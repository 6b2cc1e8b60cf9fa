"""A restart that is never through: the playbook runs for real, and hangs."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy_app.jobs.states import State
from proxy_app.store import Job
from proxy_app.watch.records import Records
from tests.faults.installation import WATCH
from tests.jobs.house import ROOT, House, eventually, settings
from tests.standins.upstream_parakeet import Parakeet


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(settings(tmp_path, SPEECH_SERVICE_JOB_LIMIT_S="3"))
    yield made
    made.room.close()


def test_16_a_restart_that_hangs_is_ended_and_counts(house: House, tmp_path: Path) -> None:
    with Parakeet() as parakeet:
        parakeet.behave("500", {})
        registration = {
            "kind": "asr", "api": "parakeet", "base_url": f"http://127.0.0.1:{parakeet.port}",
            "host": "slow", "container": "parakeet",
        }  # fmt: skip
        folder = tmp_path / "services.d"
        folder.mkdir()
        (folder / "parakeet.json").write_text(json.dumps(registration))
        with house.dispatching():
            watch = subprocess.Popen(WATCH, cwd=ROOT, env=house.environ)
            try:
                failed = Job.state == State.TIMED_OUT
                assert eventually(lambda: house.room.jobs.last(failed), within_s=150)
            finally:
                watch.send_signal(signal.SIGTERM)
                assert watch.wait(30) == 0
    job = house.room.jobs.last(Job.state == State.TIMED_OUT)
    assert job is not None
    assert (job.kind, job.by) == ("service.restart", "the watch process")
    assert job.reason.startswith("It took longer than the 3 s")
    assert Records(house.room.store).left("parakeet") < 3

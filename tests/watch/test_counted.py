"""What the watch process finds and does is in the metrics of all processes."""

import subprocess
import sys
from pathlib import Path
from typing import cast

from proxy_app.store import Store
from proxy_app.telemetry import Metrics, shared
from proxy_app.telemetry.of_watch import CountedProber, CountedRecords
from proxy_app.watch.probing import Prober
from tests.watch.world import BAD, GOOD, SERVICE

COUNTS_AND_DIES = """
import os, signal, sys
from pathlib import Path
from prometheus_client import Gauge
from proxy_app.telemetry import Metrics, shared
for name in sys.argv[2:]:
    shared.join(Path(sys.argv[1]), name or None)
    metrics = Metrics()
    metrics.restarts.labels("whisperx", name or "worker").inc()
    held = Gauge("in_hand", "", ("by",), multiprocess_mode="sum", registry=metrics.registry)
    held.labels(name or "worker").inc()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_probes_and_restarts_are_counted(tmp_path: Path) -> None:
    store = Store(None, tmp_path)
    metrics = Metrics()
    found = iter((GOOD, BAD, BAD))
    probe = CountedProber(cast(Prober, lambda _service: next(found)), metrics)
    assert [probe(SERVICE) for _ in range(3)] == [GOOD, BAD, BAD]
    records = CountedRecords(store, metrics)
    records.add_restart("whisperx", by="docker")
    assert records.left("whisperx") == 2
    value = metrics.registry.get_sample_value
    for name, expected in (("good", 1), ("bad", 2)):
        labels = {"service": "whisperx", "outcome": name}
        assert value("speech_probes_total", labels) == expected
    assert value("speech_restarts_total", {"service": "whisperx", "by": "docker"}) == 1
    store.close()


def test_who_follows_a_killed_worker_goes_on_counting_and_the_watch_begins_anew(
    tmp_path: Path,
) -> None:
    for _ in range(2):
        command = [sys.executable, "-c", COUNTS_AND_DIES, str(tmp_path), "", "watch"]
        assert subprocess.run(command, check=False).returncode == -9
    value = shared.of_all(tmp_path).get_sample_value
    assert value("speech_restarts_total", {"service": "whisperx", "by": "worker"}) == 2
    assert value("speech_restarts_total", {"service": "whisperx", "by": "watch"}) == 1
    assert value("in_hand", {"by": "worker"}) == 1, "a dead one has nothing in hand"

"""Healing: how soon a stuck engine is restarted and serves again; `python -m tests.bench.healing`.

From the first request that fails, because the gateway tells the watch process of it. A deep probe
every five minutes, which is all that others have, would come after two and a half minutes
on average; that row is computed. The engine is a stand-in that loads for half a second: the loading
of a real model comes on top, in both rows.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.printing import say, table
from tests.faults.installation import Installation, installed

ROUNDS = 4
EVERY_S = 300.0


def heal(home: Installation) -> tuple[float, float, float]:
    """Seconds from the first 500 to the probe, to the restart's order and to the next 200."""
    home.reset()
    home.make("wedged")
    while home.transcribe().status_code != 503:
        pass
    failed = home.uploads("client")[-1]
    while home.transcribe().status_code != 200:
        time.sleep(0.05)
    served = time.time()
    (job,) = home.restarts()
    return home.uploads("probe")[0] - failed, job.created_at - failed, served - failed


def figures(seconds: Sequence[float]) -> list[str]:
    """Median and slowest."""
    return [f"{value:.2f} s" for value in (statistics.median(seconds), max(seconds))]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, installed(Path(folder)) as home:
        say(f"{ROUNDS} times")
        probes, orders, served = zip(*(heal(home) for _ in range(ROUNDS)), strict=True)
    waits = [time_s + EVERY_S / 2 for time_s in served]
    table(
        ("from the first 500", "median", "slowest"),
        [
            ["to the deep probe", *figures(probes)],
            ["to the order of a restart", *figures(orders)],
            ["to the first request that is served", *figures(served)],
            ["the same, waiting for a probe every 5 minutes (mean)", figures(waits)[0]],
        ],
    )


if __name__ == "__main__":
    main()

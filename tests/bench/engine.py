"""Measure the engine as a real process with its defaults, and print Markdown tables.

    TEST_DATA=... python -m tests.bench.engine [PART ...] [--minutes N ...]

Parts are speed, alignment, latency, memory and unloading; without any it is all of them, which
takes most of an hour on two cores. The real-time factor (RTF) is processing time by the audio's
length. What recordings: recordings.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.latency import latency
from tests.bench.memory import memory, unloading
from tests.bench.printing import say
from tests.bench.recordings import MissingAudioError, Recordings
from tests.bench.serving import PYTHON
from tests.bench.speed import alignment, speed

PARTS = ("speed", "alignment", "latency", "memory", "unloading")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--minutes", nargs="+", type=int, default=[10, 90], help="lengths of speed's recordings"
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    with TemporaryDirectory() as folder:
        recordings = Recordings(Path(folder), PYTHON)
        run: dict[str, Callable[[], None]] = {
            "speed": lambda: speed(recordings, chosen.minutes),
            "alignment": lambda: alignment(recordings),
            "latency": lambda: latency(recordings),
            "memory": lambda: memory(recordings),
            "unloading": lambda: unloading(recordings),
        }
        for part in chosen.parts or PARTS:
            print(f"#### {part.capitalize()}\n")
            began = time.monotonic()
            try:
                run[part]()
            except MissingAudioError as error:
                print(f"Left out: {error}.\n")
            say(f"{part} took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()

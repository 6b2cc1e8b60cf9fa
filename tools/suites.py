"""Run the test suites and print the time of each: `make test`, `make check`.

All of them run, also after a failure, in three lanes that take about the same time: two cores have
enough to do with them, and what one waits for the others use. A suite's output is printed when it
ends; what has not ended in time is stopped, so that it can be seen where it hung. The last line
sums up what pytest counted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

COMMANDS: dict[str, list[list[str]]] = {
    "lint": [
        [str(BIN / "ruff"), "check", "--quiet", "."],
        [str(BIN / "ruff"), "format", "--quiet", "--check", "."],
    ],
    "types": [
        [str(BIN / "mypy"), "proxy_app", "images", "tools", "tests"],
        [str(BIN / "mypy"), "collections/ansible_collections/spark/speech/plugins"],
    ],
}
ANSIBLE = ("collections/ansible_collections/spark/speech", "playbooks", "inventory", "molecule")
COMMANDS["ansible"] = [
    [str(BIN / "ansible-lint"), "--offline", *ANSIBLE],
    [str(BIN / "yamllint"), "--strict", *ANSIBLE],
]
LANES = (
    ("lint", "types", "unit", "access", "watch", "api", "locks", "fleet"),
    ("engine", "parakeet", "sortformer", "browser", "hosts", "faults", "collection"),
    ("ansible", "e2e", "clients", "jobs", "site"),
)
WITHIN_S = 4500.0
"""All of them together: CI gives 5400 s, and the setup comes before."""
ENDS_WITHIN_S = 90.0
"""What a suite that is interrupted may take to put away what it has started."""
_print_lock = threading.Lock()


@dataclass(frozen=True)
class Result:
    """How one suite went."""

    suite: str
    seconds: float
    passed: bool


def environment() -> dict[str, str]:
    """What the commands see: ansible-lint and molecule call others of this environment by name."""
    collections = [ROOT / "collections", *ROOT.glob(".venv/ansible/lib/python3*/site-packages")]
    # Without bytecode each process of each test would compile anew all that it imports: NeMo takes
    # 21 instead of 8 s, the gateway 2 instead of 0.7.
    kept = {name: of for name, of in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(map(str, collections)),
    }


def run(suite: str, reports: Path, deadline: float) -> Result:
    """Run one suite; pytest's counts go to a file in REPORTS."""
    report = f"--junit-xml={reports}/{suite}.xml"
    commands = COMMANDS.get(suite) or [[sys.executable, "-m", "pytest", f"tests/{suite}", report]]
    print(f"-- {suite}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        codes = [_run(command, said, deadline) for command in commands]
        seconds = time.monotonic() - started
        said.seek(0)
        with _print_lock:
            print(f"== {suite}", flush=True)
            shutil.copyfileobj(said, sys.stdout.buffer)
            sys.stdout.flush()
    return Result(suite, seconds, not any(codes))


def _run(command: list[str], said: IO[bytes], deadline: float) -> int:
    """Run a command to its end, or to the deadline: then it shows where it is, and is stopped."""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=said, stderr=subprocess.STDOUT
    ) as process:
        for signal_, within_s in (
            (signal.SIGINT, deadline - time.monotonic()),  # pytest prints where, and tidies up
            (signal.SIGABRT, ENDS_WITHIN_S),  # faulthandler prints what each thread does
            (signal.SIGKILL, 10),
        ):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(max(within_s, 0))
            process.send_signal(signal_)
    return process.returncode


def counts(reports: Iterable[Path]) -> tuple[int, int, int]:
    """How many tests passed, failed and were skipped."""
    total = failed = skipped = 0
    for report in reports:
        for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - our own file
            total += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed, skipped


def main(chosen: list[str]) -> int:
    """Run the suites of CHOSEN, or all of them; returns the exit status."""
    lanes = [[suite for suite in lane if suite in chosen or not chosen] for lane in LANES]
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(LANES)) as pool:
        reports = Path(folder)

        def run_lane(lane: list[str]) -> list[Result]:
            return [run(suite, reports, started + WITHIN_S) for suite in lane]

        results = [result for done in pool.map(run_lane, lanes) for result in done]
        passed, failed, skipped = counts(reports.glob("*.xml"))
    print()
    for result in results:
        word = "ok" if result.passed else "FAILED"
        print(f"{result.suite:8} {result.seconds:6.1f} s  {word}")
    print(f"{'in all':8} {time.monotonic() - started:6.1f} s")
    print(f"tests: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

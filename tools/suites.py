"""Run the test suites one after another and print the time of each: `make test`, `make check`.

All of them run, also after a failure. The last line sums up what pytest counted.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CODE = ("proxy_app", "images", "tools", "tests")

COMMANDS: dict[str, list[list[str]]] = {
    "lint": [
        [str(BIN / "ruff"), "check", "--quiet", "."],
        [str(BIN / "ruff"), "format", "--quiet", "--check", "."],
    ],
    "types": [[str(BIN / "mypy"), *CODE]],
}
PYTEST = ("unit", "locks", "api", "engine", "e2e")


def run(suite: str, report: Path) -> bool:
    """Run one suite; REPORT is where pytest counts its tests."""
    commands = COMMANDS.get(suite) or [
        [sys.executable, "-m", "pytest", f"tests/{suite}", f"--junit-xml={report}"]
    ]
    statuses = [subprocess.call(command, cwd=ROOT) for command in commands]
    return not any(statuses)


def counts(reports: list[Path]) -> tuple[int, int, int]:
    """How many tests passed, failed and were skipped."""
    total = failed = skipped = 0
    for report in reports:
        for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - our own file
            total += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed, skipped


def main(suites: list[str]) -> int:
    """Run SUITES, or all of them."""
    lines: list[str] = []
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for suite in suites or [*COMMANDS, *PYTEST]:
            print(f"== {suite}", flush=True)
            started = time.monotonic()
            passed = run(suite, Path(folder) / f"{suite}.xml")
            good &= passed
            word = "ok" if passed else "FAILED"
            lines.append(f"{suite:8} {time.monotonic() - started:6.1f} s  {word}")
        passed_tests, failed, skipped = counts(sorted(Path(folder).glob("*.xml")))
    print("\n" + "\n".join(lines))
    print(f"tests: {passed_tests} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

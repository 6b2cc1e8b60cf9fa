"""All benchmarks, one after another, as Markdown: `make bench`.

Each runs in the environment that has its peers; a peer that is missing is a row that says so.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = (
    ("merge", "bench"),
    ("engine", "dev"),
    ("gateway", "dev"),
    ("voices", "dev"),
    ("jobs", "dev"),
    ("page", "dev"),
    ("healing", "dev"),
    ("fleet", "dev"),
    ("known_speakers", "engine"),
)


def title(name: str) -> str:
    """The heading of a benchmark's tables."""
    return name.replace("_", " ").capitalize()


def main() -> int:
    environ = dict(os.environ)
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    failed = []
    for name, environment in BENCHMARKS:
        print(f"\n### {title(name)}\n", flush=True)
        python = ROOT / f".venv/{environment}/bin/python"
        command = [str(python), "-W", "ignore", "-m", f"tests.bench.{name}"]
        if subprocess.call(command, cwd=ROOT, env=environ):
            failed.append(name)
    if failed:
        print(f"These failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What the benchmarks print: Markdown on stdout, and on stderr what is being done."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


def say(progress: str) -> None:
    """Tell whoever waits."""
    print(f"  {progress}", file=sys.stderr, flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: the first column is text, the others are figures. A short row is filled up."""
    print(f"\n| {' | '.join(head)} |")
    print("|---|" + "---:|" * (len(head) - 1))
    for row in rows:
        print(f"| {' | '.join([*row, *[''] * (len(head) - len(row))])} |", flush=True)
    print()


def gigabytes(size: int) -> str:
    """A size in bytes for people."""
    return f"{size / 1e9:.2f} GB"

"""How long a short clip waits: alone, and behind a long recording that is being worked on."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.printing import say, table
from tests.bench.recordings import Recordings
from tests.bench.serving import SPEAKERS, TEXT, engine, lines, seconds_for
from tests.engine.conftest import Running, part, wait_for

LONG_MIN = 30
"""Two windows of a quarter of an hour."""
CLIP_S = 3
CLIP_AT_S = 8
"""Where in the sample both people speak."""
ALONE = 5
BEHIND = 10
PAUSE_S = 1.0
KINDS = {"no speakers": TEXT, "with speakers": SPEAKERS}


@dataclass(frozen=True)
class Clip:
    """How long a clip's answer took, and whether the long recording's came before it."""

    took_s: float
    is_late: bool = False


def latency(recordings: Recordings) -> None:
    """Print the table.

    Raises:
        MissingAudioError: there are no recordings to join.
    """
    clip = part(recordings.call.path, CLIP_AT_S, CLIP_S)
    long = recordings.joined(LONG_MIN)
    with engine() as running:
        say("clips alone")
        alone = {
            kind: [Clip(seconds_for(running, path, clip)) for _ in range(ALONE)]
            for kind, path in KINDS.items()
        }
        say(f"clips behind {long.name}")
        behind = spaced(running, long.path, clip)
        say(f"clips with speakers without a pause behind {long.name}")
        steady = without_pause(running, long.path, clip)
    print(
        f"A {CLIP_S} s clip of the sample, alone and while {long.name} are worked on with speakers "
        f"(two windows): {BEHIND} clips of each kind one after another, {PAUSE_S:.0f} s between "
        "them, and in another run clips with speakers without a pause until the recording was "
        "done, so that some meet the clustering of a window, the longest step there is. Late are "
        "those that were answered after the recording."
    )
    measured = {f"alone, {kind}": clips for kind, clips in alone.items()}
    measured |= {f"behind {long.name}, {kind}": clips for kind, clips in behind.items()}
    measured[f"behind {long.name}, with speakers, without a pause"] = steady
    rows = [[name, *figures(clips)] for name, clips in measured.items()]
    table([f"{CLIP_S} s clip", "clips", "median", "worst", "late"], rows)


def figures(clips: list[Clip]) -> list[str]:
    """The cells for some clips."""
    if not clips:
        return ["0"]
    times = [clip.took_s for clip in clips]
    late = sum(clip.is_late for clip in clips)
    return [
        str(len(times)), f"{statistics.median(times):.2f} s", f"{max(times):.2f} s", str(late)
    ]  # fmt: skip


def spaced(running: Running, long: Path, clip: bytes) -> dict[str, list[Clip]]:
    """Clips of each kind in turns, with pauses, as long as the recording is not done."""
    clips: dict[str, list[Clip]] = {kind: [] for kind in KINDS}
    with working(running, long) as answered:
        for kind in BEHIND * list(KINDS):
            if answered.done():
                break
            took_s = seconds_for(running, KINDS[kind], clip)
            clips[kind].append(Clip(took_s, is_late=answered.done()))
            time.sleep(PAUSE_S)
    return clips


def without_pause(running: Running, long: Path, clip: bytes) -> list[Clip]:
    """Clips with speakers, one after another until the recording is done."""
    clips: list[Clip] = []
    with working(running, long) as answered:
        while not answered.done():
            took_s = seconds_for(running, SPEAKERS, clip)
            clips.append(Clip(took_s, is_late=answered.done()))
    return clips


@contextmanager
def working(running: Running, recording: Path) -> Iterator[Future[None]]:
    """A recording is worked on meanwhile; the future is done when its answer is there."""
    begun = threading.Event()

    def ask() -> None:
        for line in lines(running, SPEAKERS, recording):
            if line["type"] == "error":
                raise RuntimeError(f"{recording.name}: {line}")
            if line["type"] == "segments":
                begun.set()

    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(ask)
        wait_for(lambda: begun.is_set() or answered.done())
        yield answered
        answered.result()

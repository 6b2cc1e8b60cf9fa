"""What memory the engine keeps: over many requests, and with its models dropped."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.printing import gigabytes, say, table
from tests.bench.recordings import Recording, Recordings
from tests.bench.serving import SPEAKERS, TEXT, engine, lines, resident_bytes, seconds_for, stream
from tests.engine.conftest import Running, part, wait_for

REQUESTS = 200
LOOKS = (20, 100, 200)
LENGTHS_S = (1, 2, 3, 5, 8, 13, 21, 34, 55, 60)
SOURCE_MIN = 10
UNLOAD_AFTER_MIN = 0.1


def memory(recordings: Recordings) -> None:
    """Print what 200 mixed requests leave behind.

    Raises:
        MissingAudioError: there are no recordings to join.
    """
    source = recordings.joined(SOURCE_MIN)
    with engine() as running, TemporaryDirectory() as folder:
        found = {0: resident_bytes(running)}
        requests = mixed(running, source, Path(folder) / "part.wav")
        for number, what in zip(range(1, REQUESTS + 1), requests, strict=False):
            if number in LOOKS:
                running.wait_until_idle()
                found[number] = resident_bytes(running)
            if number % 20 == 0:
                say(f"{number} of {REQUESTS} requests, last {what}")
    growth = found[LOOKS[-1]] / found[LOOKS[0]] - 1
    print(
        f"{REQUESTS} requests: parts of {LENGTHS_S[0]} to {LENGTHS_S[-1]} s of the "
        "joined recordings, in turns without speakers, with speakers, streamed, and left by the "
        f"client at the first text. After the first {LOOKS[0]} the memory in use grew by "
        f"{growth:.1%}."
    )
    table(
        ["requests done", *(str(look) for look in found)],
        [["memory in use", *(gigabytes(size) for size in found.values())]],
    )


def mixed(running: Running, source: Recording, path: Path) -> Iterator[str]:
    """Make requests, each length in each kind; says what each was.

    Args:
        running: the engine.
        source: what the parts are of.
        path: where a part is written.
    """
    for number in itertools.count():
        seconds = LENGTHS_S[number % len(LENGTHS_S)]
        kind = (number + number // len(LENGTHS_S)) % 4
        start_s = 37 * number % (int(source.seconds) - seconds)
        clip = part(source.path, start_s, seconds)
        path.write_bytes(clip)
        if kind == 0:
            seconds_for(running, TEXT, clip)
        elif kind == 1:
            seconds_for(running, SPEAKERS, clip)
        elif kind == 2:
            stream(running, SPEAKERS, path)
        else:
            leave_at_first_text(running, path)
        yield f"{seconds} s"


def leave_at_first_text(running: Running, recording: Path) -> None:
    """Hang up in the middle of the work, if there is text at all."""
    with contextlib.closing(lines(running, SPEAKERS, recording)) as answer:
        for line in answer:
            if line["type"] == "segments":
                return


def unloading(recordings: Recordings) -> None:
    """Print the memory of an engine that drops its models and loads them again."""
    clip = part(recordings.call.path, 5, 20)
    with engine(ENGINE_UNLOAD_AFTER_MIN=str(UNLOAD_AFTER_MIN)) as running:
        idle = resident_bytes(running)
        seconds_for(running, SPEAKERS, clip)
        used = resident_bytes(running)
        say("waiting until the models are dropped")
        wait_for(lambda: running.health()["status"] == "unloaded")
        unloaded = resident_bytes(running)
        again_s = seconds_for(running, SPEAKERS, clip)
        again = resident_bytes(running)
    print(
        f"Memory in use: {gigabytes(idle)} with the models loaded, {gigabytes(used)} after a "
        f"request, {gigabytes(unloaded)} after ENGINE_UNLOAD_AFTER_MIN, {gigabytes(again)} after "
        f"the next request, which took {again_s:.1f} s for 20 s of audio with loading.\n"
    )

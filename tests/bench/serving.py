"""The engine as a process that is measured: started, asked, and its memory read."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
from requests_toolbelt.multipart.encoder import MultipartEncoder

from tests.engine.conftest import ROOT, Running, start

PYTHON = Path(os.environ.get("ENGINE_PYTHON", ROOT / ".venv/engine/bin/python"))
TEXT = "/v1/audio/transcriptions"
SPEAKERS = "/v1/audio/transcribe-with-speakers"
CORES = len(os.sched_getaffinity(0))
SILENT_S = 120.0
"""A streamed answer has a line every 15 s; an engine that says nothing for so long is stuck."""


@dataclass(frozen=True)
class Streamed:
    """A streamed answer, and when what came, in seconds after the upload began."""

    took_s: float
    first_text_s: float | None
    answer: dict[str, Any]


@contextlib.contextmanager
def engine(**environ: str) -> Iterator[Running]:
    """A fresh engine whose models are loaded, with its defaults but for these settings."""
    with TemporaryDirectory() as folder:
        running = start(PYTHON, Path(folder), environ)
        try:
            running.wait_until("ready")
            yield running
        finally:
            running.stop()


def lines(running: Running, path: str, recording: Path) -> Generator[dict[str, Any], None, None]:
    """Upload a recording and take the answer's lines as they come; the client may leave."""
    with recording.open("rb") as file:
        form = MultipartEncoder({"stream": "true", "file": ("audio.wav", file, "audio/wav")})
        with requests.post(
            f"{running.url}{path}",
            data=form,
            headers={"Content-Type": form.content_type},
            stream=True,
            timeout=SILENT_S,
        ) as response:
            if not response.ok:
                raise RuntimeError(f"{path}: {response.status_code} {response.text}")
            for line in response.iter_lines():
                yield json.loads(line)


def stream(running: Running, path: str, recording: Path) -> Streamed:
    """Upload a recording and wait for all of its answer."""
    began = time.monotonic()
    first_text_s = None
    line: dict[str, Any] = {}
    for line in lines(running, path, recording):
        if line["type"] == "segments" and first_text_s is None:
            first_text_s = time.monotonic() - began
    if line.get("type") != "end":
        raise RuntimeError(f"{path}: {line}")
    return Streamed(time.monotonic() - began, first_text_s, line["answer"])


def seconds_for(running: Running, path: str, clip: bytes) -> float:
    """How long a clip's answer takes."""
    began = time.monotonic()
    response = running.post(path, clip)
    if not response.ok:
        raise RuntimeError(f"{path}: {response.status_code} {response.text}")
    return time.monotonic() - began


def peak_bytes(running: Running) -> int:
    """The most memory that the engine has had in use, as Linux counted it."""
    return _status(running, "VmHWM")


def resident_bytes(running: Running) -> int:
    """The memory that the engine has in use."""
    return _status(running, "VmRSS")


def _status(running: Running, field: str) -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text(encoding="ascii")
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024

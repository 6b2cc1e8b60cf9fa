"""Where NeMo is, and the stand-ins for its models' weights, which all suites share."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".run/tiny-models"
MADE_FROM = (
    "tests/standins/parakeet_model.py",
    "tests/standins/sortformer_model.py",
    "images/serving/probe_audio.py",
    "requirements/parakeet.lock",
)
MADE_WITHIN_S = 600


def nemo_python() -> Path:
    """The interpreter that has NeMo (PARAKEET_PYTHON, or the one that set-up made), or a skip."""
    path = Path(os.environ.get("PARAKEET_PYTHON", ROOT / ".venv/parakeet/bin/python"))
    if not path.is_file():
        pytest.skip(f"the environment with NeMo is not there: no {path}")
    return path


def tiny_models() -> Path:
    """A folder with tiny-random.nemo, tiny-streaming.nemo and tiny-offline.nemo, of RANDOM WEIGHTS.

    To import NeMo takes longer than to make them, so the first suite makes all three.
    """
    python = nemo_python()
    content = b"\0".join((ROOT / name).read_bytes() for name in MADE_FROM)
    folder = KEPT / hashlib.sha256(content).hexdigest()[:12]
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _make(python, folder)
    return folder


def _make(python: Path, folder: Path) -> None:
    for old in KEPT.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    unfinished = folder.with_suffix(".part")
    unfinished.mkdir()
    done = subprocess.run(
        [str(python), "-m", "tests.standins.nemo_models", str(unfinished)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=MADE_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    unfinished.rename(folder)

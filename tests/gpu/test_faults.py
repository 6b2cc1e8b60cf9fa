"""What CUDA's libraries say over a lost context and a full memory, and what is made of that."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gpu.conftest import ROOT, modules_on_path
from tests.gpu.kinds import ACTORS, LOSSES, SHORTAGE

Said = dict[str, dict[str, tuple[str, str]]]
"""During the fault and after it: by actor, its words and what they are taken for."""
Lost = dict[tuple[str, str], Said]
QUIET = "empty_cache"
"""Frees nothing where nothing is kept, and may then see no fault."""
LOST = [("illegal_address", actor) for actor in ACTORS] + [(kind, "copy") for kind in LOSSES[1:]]
AT_ONCE = 4


def run(python: Path, kind: str, first: str) -> Said:
    done = subprocess.run(
        [str(python), "-m", "tests.gpu.faults", kind, first],
        cwd=ROOT,
        env=modules_on_path(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: Said = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.fixture(scope="module")
def lost(cuda_python: Path) -> Lost:
    """What everybody says after each loss."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda pair: run(cuda_python, *pair), LOST)
        return dict(zip(LOST, found, strict=True))


@pytest.fixture(scope="module")
def short(cuda_python: Path) -> Said:
    """What everybody says while the memory is full, and afterwards."""
    return run(cuda_python, SHORTAGE, "whisper")


@pytest.mark.parametrize(("kind", "first"), LOST)
def test_a_lost_gpu_is_known_by_whatever_meets_it(lost: Lost, kind: str, first: str) -> None:
    said = lost[kind, first]["during"]
    assert said[first][1] or first == QUIET
    unknown = {name: text for name, (text, means) in said.items() if means not in ("sticky", "")}
    assert not unknown
    assert [means for name, (_, means) in said.items() if name == "whisper"] == ["sticky"]


def test_a_full_memory_is_not_taken_for_a_lost_gpu(short: Said) -> None:
    assert {means for _, means in short["during"].values()} <= {"memory", ""}
    assert "memory" in {means for _, means in short["during"].values()}


def test_after_a_full_memory_everything_works(short: Said) -> None:
    assert {name: text for name, (text, _) in short["after"].items() if text} == {}

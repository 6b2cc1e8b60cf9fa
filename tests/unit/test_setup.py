"""tools/setup.py refuses what cannot work, before it downloads anything."""

import os
import subprocess
import sys
from collections.abc import Iterator
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


@pytest.fixture
def no_pip_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A home of its own, and none of this machine's settings; what pip said is asked anew."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "SETUP_", "SSL_CERT")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    environments.pip_settings.cache_clear()
    yield tmp_path / "pip.conf"
    environments.pip_settings.cache_clear()


def test_packages_come_from_our_settings_before_those_of_pip(
    no_pip_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_pip_settings.write_text("[global]\nindex-url = https://file.example/simple\n")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels/of/pip")
    monkeypatch.setenv("PIP_CERT", "/certificates.pem")
    assert environments.sources() == {
        "UV_DEFAULT_INDEX": "https://file.example/simple",
        "UV_FIND_LINKS": "/wheels/of/pip",
        "SSL_CERT_FILE": "/certificates.pem",
    }
    monkeypatch.setenv("SETUP_WHEELHOUSE", "/wheels/of/ours")
    monkeypatch.setenv("SETUP_INDEX_URL", "https://ours.example/simple")
    assert environments.sources()["UV_FIND_LINKS"] == "/wheels/of/ours"
    assert environments.sources()["UV_DEFAULT_INDEX"] == "https://ours.example/simple"


def test_a_variable_of_pip_wins_over_its_file(
    no_pip_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_pip_settings.write_text("[global]\nfind-links = /wheels/of/the/file\n")
    assert environments.sources()["UV_FIND_LINKS"] == "/wheels/of/the/file"
    environments.pip_settings.cache_clear()
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels/of/the/variable")
    assert environments.sources()["UV_FIND_LINKS"] == "/wheels/of/the/variable"


def test_torch_comes_from_its_own_index_whatever_uv_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environments, "sources", lambda: {"SSL_CERT_FILE": "/certificates.pem"})
    seen = tmp_path / "seen"
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\necho "$@" >> {seen}\nenv >> {seen}\n')
    uv.chmod(0o755)
    monkeypatch.setenv("UV_INDEX", "https://cuda.example/simple")
    monkeypatch.setenv("UV_TORCH_BACKEND", "auto")
    environments.install_torch(uv, tmp_path, "engine")
    told = seen.read_text().splitlines()
    assert f"UV_DEFAULT_INDEX={environments.TORCH_CPU_INDEX}" in told
    assert "SSL_CERT_FILE=/certificates.pem" in told
    assert not [line for line in told if line.startswith(("UV_INDEX=", "UV_TORCH_BACKEND="))]


def test_what_a_host_lacks_is_named_before_anything_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environments, "VENV", tmp_path / ".venv")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert environments.main(["gateway", "engine"]) == 1
    assert "a C++ compiler" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / ".venv").iterdir()] == [".lock"]

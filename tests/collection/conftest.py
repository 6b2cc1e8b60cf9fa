"""The collection's modules: importable, and run as Ansible runs them, JSON in and JSON out."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.collection.forking import run_forked
from tests.fleet.conftest import engine_or_skip
from tests.fleet.engine import Engine
from tests.fleet.images import base_image as made_base_image
from tools import collection

REPOSITORY = Path(__file__).resolve().parents[2]
COLLECTIONS = REPOSITORY / "collections"
MODULES = "ansible_collections.spark.speech.plugins.modules"

RunModule = Callable[..., dict[str, Any]]
RunDocker = Callable[..., str]

sys.path.insert(0, str(COLLECTIONS))


def _run(
    name: str, /, *, check: bool = False, env: dict[str, str] | None = None, **options: object
) -> dict[str, Any]:
    parameters = {
        "_ansible_check_mode": check,
        "_ansible_diff": True,
        "_ansible_remote_tmp": "/tmp",  # what Ansible passes, or the module makes a folder in ~
        "_ansible_keep_remote_files": False,
        **options,
    }
    given = json.dumps({"ANSIBLE_MODULE_ARGS": parameters})
    stdout, stderr = run_forked(f"{MODULES}.{name}", given, {**os.environ, **(env or {})})
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 1, f"{name} gave no answer:\n{stdout}\n{stderr}"
    answer: dict[str, Any] = json.loads(lines[0])
    return answer


@pytest.fixture(scope="session")
def run_module() -> RunModule:
    """`run_module("name", option=value)`: the module's answer; `failed` in it where it failed.

    `check=True` is check mode; `env` adds to the environment that the module sees.
    """
    return _run


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A real Docker engine."""
    with engine_or_skip() as engine:
        yield engine


@pytest.fixture(scope="session")
def docker(engine: Engine) -> Iterator[RunDocker]:
    """`docker("ps", "-a")`: what the real docker answers; what modules run is the same one."""
    theirs = dict(os.environ)
    os.environ.update(engine.environment)
    os.environ["PATH"] = f"{Path(engine.client).parent}{os.pathsep}{os.environ['PATH']}"

    def docker(*arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            [engine.client, *arguments], input=stdin, capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    yield docker
    os.environ.clear()
    os.environ.update(theirs)


def docker_versions() -> dict[str, int]:
    """The docker commands of this machine, and the first number of their versions."""
    found = (shutil.which("docker", path=folder) for folder in os.get_exec_path())
    versions = {}
    for client in filter(None, found):
        said = subprocess.run([client, "--version"], capture_output=True, text=True, check=True)
        versions[client] = int(said.stdout.split("version ")[1].split(".")[0])
    return versions


@pytest.fixture
def without_buildx(engine: Engine, tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """`without_buildx(client)`: an environment where that docker has no buildx that works."""
    plugin = tmp_path / "docker/cli-plugins/docker-buildx"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("#!/bin/sh\nexit 1\n")
    plugin.chmod(0o755)
    config = {"DOCKER_CONFIG": str(tmp_path / "docker"), "DOCKER_HOST": engine.host}
    return lambda client: {**config, "PATH": f"{Path(client).parent}:{os.environ['PATH']}"}


@pytest.fixture
def docker_without_buildx(
    without_buildx: Callable[[str], dict[str, str]], engine: Engine, tmp_path: Path
) -> dict[str, str]:
    """An environment whose docker needs its buildx plugin and has none: a real one if there is."""
    newer = [client for client, version in docker_versions().items() if version >= 23]
    if newer:
        return without_buildx(newer[0])
    standin = tmp_path / "standin/docker"
    standin.parent.mkdir()
    standin.symlink_to(REPOSITORY / "tests/standins/docker_23.sh")
    return without_buildx(str(standin)) | {"REAL_DOCKER": engine.client}


@pytest.fixture(scope="session")
def base_image(docker: RunDocker, engine: Engine) -> str:
    """An image with a shell: SPEECH_TEST_BASE_IMAGE, or Debian."""
    return made_base_image(engine)


@pytest.fixture(scope="session")
def galaxy() -> Path:
    return Path(shutil.which("ansible-galaxy") or collection.GALAXY)


@pytest.fixture(scope="session")
def tarball(galaxy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collection.build(tmp_path_factory.mktemp("dist"), galaxy)


@pytest.fixture(scope="session")
def installed(galaxy: Path, tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as it is after an install in an empty folder."""
    folder = tmp_path_factory.mktemp("installed")
    # Elsewhere than in the checkout, and without its path: it counts as installed there.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    command = [str(galaxy), "collection", "install", str(tarball), "--no-deps", "-p", "."]
    subprocess.run(command, cwd=folder, env=kept, check=True, capture_output=True)
    return folder / "ansible_collections/spark/speech"

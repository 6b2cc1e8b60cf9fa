"""One engine and one fleet for the whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fleet.engine import Engine, MissingError, running_engine
from tests.fleet.fleet import Fleet, running_fleet
from tests.fleet.playbooks import Playbooks, Result
from tests.fleet.site import Site, make_site, nemo_python, sample
from tests.fleet.spark import Spark


@contextmanager
def engine_or_skip() -> Iterator[Engine]:
    """The Docker engine in which the tests make what they need."""
    try:
        with running_engine() as engine:
            yield engine
    except MissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine in which the Sparks are containers."""
    with engine_or_skip() as engine:
        yield engine


@pytest.fixture(scope="session")
def fleet(engine: Engine) -> Iterator[Fleet]:
    """Two Sparks."""
    with running_fleet(engine) as fleet:
        yield fleet


@pytest.fixture
def spark1(fleet: Fleet) -> Spark:
    return fleet.sparks[0]


@pytest.fixture
def spark2(fleet: Fleet) -> Spark:
    if len(fleet.sparks) < 2:
        pytest.skip("SPEECH_FLEET_SIZE is 1: this test needs two Sparks")
    return fleet.sparks[1]


@pytest.fixture(scope="session")
def playbook(fleet: Fleet) -> Playbooks:
    """Runs a playbook on the fleet: `playbook("whisperx", whisperx_state="absent")`."""
    return Playbooks(inventory=fleet.inventory(), folder=fleet.folder)


@pytest.fixture(scope="session")
def call() -> Path:
    """30 s of a telephone call of two people."""
    found = sample()
    if not found:
        pytest.skip("the engine's environment is not there: no sample of pyannote's")
    return found


@pytest.fixture(scope="session")
def empty_site(fleet: Fleet, playbook: Playbooks, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Hosts on which nothing is installed yet."""
    python = nemo_python()
    if not python.is_file():
        pytest.skip(f"NeMo's environment is not there: no {python}")
    return make_site(fleet, playbook, python, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def installation(empty_site: Site) -> Result:
    """The first run of the whole site."""
    return empty_site.run("site")


@pytest.fixture(scope="session")
def site(empty_site: Site, installation: Result) -> Site:
    """All of it is installed, once for the whole run; test_site_removed.py takes it away."""
    assert installation.rc == 0, installation.out
    return empty_site

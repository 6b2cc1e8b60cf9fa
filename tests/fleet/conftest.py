"""One engine and one fleet for the whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.fleet.engine import Engine, MissingError, running_engine
from tests.fleet.fleet import Fleet, running_fleet
from tests.fleet.playbooks import Playbooks, warm
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
def playbook(fleet: Fleet) -> Iterator[Playbooks]:
    """Runs a playbook on the fleet: `playbook("whisperx", whisperx_state="absent")`."""
    with warm(Playbooks(inventory=fleet.inventory(), folder=fleet.folder)) as playbooks:
        yield playbooks

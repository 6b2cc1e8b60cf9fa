"""A control host whose inventory is empty, and one real host to add."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy_app.jobs.project import Login
from tests.fleet.conftest import engine_or_skip
from tests.fleet.engine import Engine
from tests.fleet.images import fleet_images
from tests.hosts import sshd as hosts
from tests.jobs.conftest import database_url, postgres_server
from tests.jobs.house import House, settings

__all__ = ["database_url", "postgres_server"]

PROJECT = Path(__file__).with_name("project")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with engine_or_skip() as engine:
        yield engine


@pytest.fixture(scope="session")
def the_sshd(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[hosts.Sshd]:
    image = fleet_images(engine).spark
    with hosts.running(engine, image, tmp_path_factory.mktemp("sshd")) as host:
        yield host


@pytest.fixture
def sshd(the_sshd: hosts.Sshd) -> Iterator[hosts.Sshd]:
    """The host, which knows no key of ours yet."""
    the_sshd.forget_keys()
    yield the_sshd
    the_sshd.root("rm -f /run/nvidia-smi-hangs")


@pytest.fixture
def login(sshd: hosts.Sshd) -> Login:
    return Login(address=sshd.address, user=sshd.user, port=22)


def empty_house(folder: Path, inventory: object = None, **more: str) -> House:
    """A control host; its inventory has nothing, or what is given."""
    folder.mkdir(exist_ok=True)
    given = folder / "inventory.json"
    given.write_text(json.dumps(inventory or {"all": {"hosts": {}}}))
    environ = settings(folder, SPEECH_INVENTORY=str(given), SPEECH_PROJECT_DIR=str(PROJECT))
    return House({**environ, **more})


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = empty_house(tmp_path / "a house")
    yield made
    made.room.close()

"""A world that is well, and watched."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy_app.store import Store
from tests.watch.world import World


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has all tables: making them takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    store = Store(None, folder)
    with store.session():
        pass
    store.close()
    return folder / "speech.db"


@pytest.fixture
def world(tmp_path: Path, empty_database: Path) -> Iterator[World]:
    shutil.copy(empty_database, tmp_path)
    made = World(tmp_path)
    made.go(3)
    assert made.state == "ready"
    made.probes.clear()
    yield made
    made.store.close()

"""Both databases, and a control host whose playbooks are scenarios."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from proxy_app.jobs import Jobs
from proxy_app.store import Store
from tests.jobs import postgres
from tests.jobs.house import House, settings


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres.server() as where:
        yield where


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """An empty database of each kind; None is SQLite in the state folder."""
    if request.param == "sqlite":
        return None
    return empty_database(request.getfixturevalue("postgres_server"))


def empty_database(where: str) -> str:
    """The URL of the server's database, with nothing in it."""
    url = f"postgresql://postgres@/postgres{where}"
    with psycopg.connect(url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url


@pytest.fixture
def store(database_url: str | None, tmp_path: Path) -> Iterator[Store]:
    made = Store(database_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def jobs(store: Store, tmp_path: Path) -> Jobs:
    return Jobs(store, tmp_path / "jobs")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A control host without a dispatcher yet."""
    made = House(settings(tmp_path))
    yield made
    made.room.close()


@pytest.fixture
def any_house(database_url: str | None, tmp_path: Path) -> Iterator[House]:
    """The same, with each of the databases."""
    more = {"SPEECH_DATABASE_URL": database_url} if database_url else {}
    made = House(settings(tmp_path, **more))
    yield made
    made.room.close()

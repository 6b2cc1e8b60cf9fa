"""The schema, version by version: each file in versions/ leads from the one before it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine


def versions() -> frozenset[str]:
    """All that there are."""
    files = Path(__file__).with_name("versions").glob("[0-9]*_*.py")
    return frozenset(file.name.partition("_")[0] for file in files)


def upgrade(engine: Engine, version: str = "head") -> None:
    """Bring a database's schema to a version; all of it or nothing."""
    with engine.begin() as connection:
        upgrade_to(connection, version)


def upgrade_to(connection: Connection, version: str) -> None:
    """The same as a part of a transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, version)

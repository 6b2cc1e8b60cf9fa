"""All rows as JSON and back, for either kind of database and whatever schema it is at.

A copy is made without the models, as the database may be older or newer than they are. What goes
back is put into its own schema first, which then comes up to date as any old database does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alembic.migration import MigrationContext
from sqlalchemy import JSON, Connection, Engine, MetaData, Table, func, insert, select, text

from proxy_app.store.engine import HEAD
from proxy_app.store.migrations import upgrade_to
from proxy_app.store.models import Base

_NOT_KEPT = frozenset({"alembic_version", "sessions", "login_tries", "audio_jobs"})
"""Who was logged in is not for a backup: a session would be open again. Nor are the recordings of
audio jobs in one, without which their rows are of no use."""
_AT_ONCE = 500
_LARGEST = 1e11
"""Of a number of seconds: the year 5138."""

Row = tuple[str, dict[str, Any]]
"""A table's name, and a row's columns as JSON has them."""


def version_of(connection: Connection) -> str | None:
    """The migration that a schema is at; None where there is none."""
    return MigrationContext.configure(connection).get_current_revision()


def rows(connection: Connection) -> Iterator[Row]:
    """All rows that are kept."""
    for table in _reflected(connection).sorted_tables:
        if table.name not in _NOT_KEPT:
            for row in connection.execute(select(table)).mappings():
                yield table.name, dict(row)


def replace(engine: Engine, version: str | None, copied: Iterable[Row]) -> None:
    """Put a copy in the place of what is there: all of it or, where something fails, nothing.

    Raises:
        LookupError: the copy has a table or a column that its version does not have.
        ValueError: a column has a value of another type.
    """
    with engine.begin() as connection:
        _drop(connection)
        if version is not None:
            upgrade_to(connection, version)
        tables = _reflected(connection).tables
        waiting: dict[str, list[dict[str, Any]]] = {}
        for name, row in copied:
            _refuse_odd(tables[name], row)
            batch = waiting.setdefault(tables[name].name, [])
            batch.append(row)
            if len(batch) == _AT_ONCE:
                connection.execute(insert(tables[name]), waiting.pop(name))
        for name, batch in waiting.items():
            connection.execute(insert(tables[name]), batch)
        upgrade_to(connection, HEAD)
        if connection.dialect.name == "postgresql":
            _count_on(connection)


def _refuse_odd(table: Table, row: Mapping[str, Any]) -> None:
    """SQLite itself takes a text for a number, and whoever reads it then fails."""
    for name, value in row.items():
        kind = table.columns[name].type
        if value is None or isinstance(kind, JSON):
            continue
        wanted = kind.python_type
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = is_number and abs(value) < _LARGEST if wanted is float else type(value) is wanted
        if not fits or (wanted is int and abs(value) >= 2**63):
            raise ValueError(f"{table.name}.{name} is {str(value)[:40]!r}")


def _reflected(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    return found


def _drop(connection: Connection) -> None:
    """Remove our tables; a file of SQLite has no others, also where a newer version made them."""
    found = _reflected(connection)
    ours = {*Base.metadata.tables, "alembic_version"}
    is_file = connection.dialect.name == "sqlite"
    gone = [table for name, table in found.tables.items() if is_file or name in ours]
    found.drop_all(connection, gone)


def _count_on(connection: Connection) -> None:
    """Let PostgreSQL give numbers behind those that were copied; SQLite does so by itself."""
    for table in Base.metadata.sorted_tables:
        column = table.autoincrement_column
        if column is None:
            continue
        last = connection.scalar(select(func.max(column)))
        if last is not None:
            name = connection.scalar(
                text("SELECT pg_get_serial_sequence(:table, :column)"),
                {"table": table.name, "column": column.name},
            )
            connection.execute(text("SELECT setval(:name, :last)"), {"name": name, "last": last})

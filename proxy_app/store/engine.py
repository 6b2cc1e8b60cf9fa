"""The connection to the database: SQLite in the state folder, or PostgreSQL by URL."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.orm import Session

from proxy_app.settings import SettingError

HEAD = "0007"
"""The newest migration."""
BUSY_S = 10
"""How long a writer waits for another process's; transactions here take milliseconds."""
_BUSY_LOOK_S = 0.02
_CONNECT_S = 5


class SchemaError(Exception):
    """The database was written by a newer version than this one."""


class Store:
    """Sessions of one database. Nothing is connected before the first one.

    Args:
        url: of the database; by default a file in `folder`.
        folder: the state folder, which exists.

    Raises:
        SettingError: the URL cannot be used.
    """

    def __init__(self, url: str | None, folder: Path) -> None:
        self._engine = _engine(_parse(url, folder))
        self._folder = folder
        self._ready = False
        self._mutex = threading.Lock()

    @contextlib.contextmanager
    def session(self, *, writes: bool = False) -> Iterator[Session]:
        """One transaction. It begins with its write, if it has one: SQLite then waits in line.

        Args:
            writes: it reads first what its write depends on, and waits in line before that.

        Raises:
            SQLAlchemyError: the database does not answer or does not take it.
            SchemaError: it is a newer version's.
        """
        self._ensure_schema()
        engine = self._engine.execution_options(writes=True) if writes else self._engine
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    @property
    def engine(self) -> Engine:
        """The database as it is, its schema not looked at: for copies."""
        return self._engine

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """The database as it is at one moment, its schema not looked at: for copies.

        Raises:
            SQLAlchemyError: it cannot be read.
        """
        is_sqlite = self._engine.dialect.name == "sqlite"  # where every transaction sees one moment
        options = {} if is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._engine.connect().execution_options(**options) as connection:
            yield connection

    @property
    def file(self) -> Path | None:
        """The database, where it is a file."""
        is_file = self._engine.dialect.name == "sqlite" and self._engine.url.database
        return Path(is_file) if is_file else None

    def is_broken(self) -> bool:
        """Whether the file is no database, or not a whole one any more.

        Raises:
            SQLAlchemyError: it cannot be looked at.
        """
        if self.file is None or not self.file.exists():
            return False
        try:
            with self._engine.connect() as connection:
                return bool(connection.scalar(text("PRAGMA quick_check(1)")) != "ok")
        except DatabaseError as error:
            code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                return True
            raise

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _ensure_schema(self) -> None:
        """Bring the schema up to date, once per process and in one process at a time."""
        with self._mutex:
            if self._ready:
                return
            with (self._folder / "schema.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self.version() != HEAD:
                    # Slow to import, and mostly not needed.
                    from proxy_app.store.migrations import upgrade  # noqa: PLC0415

                    upgrade(self._engine)
            self._ready = True

    def version(self) -> str | None:
        """The migration that the schema is at; None before the first one.

        Raises:
            SchemaError: this version does not know it.
        """
        with self._engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if found is not None and found > HEAD:
            raise SchemaError(
                f"The database is at schema {found}, and this version knows {HEAD} at most: start"
                " the newer version again, or restore a backup from before it."
            )
        return found


def _parse(url: str | None, folder: Path) -> URL:
    if url is None:
        return URL.create("sqlite", database=str(folder.resolve() / "speech.db"))
    # The value may hold a password, and an error is shown.
    expected = (
        "SPEECH_DATABASE_URL: expected postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE"
    )
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingError(expected) from None
    match parsed.get_backend_name():
        case "sqlite" if parsed.database:
            return parsed.set(drivername="sqlite")
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
    raise SettingError(expected)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY_S})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        event.listen(engine, "do_execute", _execute)
        event.listen(engine, "do_executemany", _execute_many)
        return engine
    arguments = {"connect_timeout": _CONNECT_S, "options": "-c statement_timeout=30s"}
    return create_engine(url, connect_args=arguments, pool_pre_ping=True, pool_size=4)


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's
    # Python's driver would begin transactions by itself, and leave out changes of the schema.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=0")  # from here on `_in_line` waits
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _execute(cursor: Any, statement: str, parameters: Any, _context: object) -> bool:  # noqa: ANN401
    _in_line(lambda: cursor.execute(statement, parameters))
    return True


def _execute_many(cursor: Any, statement: str, parameters: Any, _context: object) -> bool:  # noqa: ANN401
    _in_line(lambda: cursor.executemany(statement, parameters))
    return True


def _in_line(run: Callable[[], object]) -> None:
    """Wait for another one's write as SQLite would, which stops all of a process's greenlets.

    Raises:
        sqlite3.Error: it was not over in time, or it has changed what this transaction has read.
    """
    until = time.monotonic() + BUSY_S
    while True:
        try:
            run()
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode
            is_busy = code & 0xFF == sqlite3.SQLITE_BUSY and code != sqlite3.SQLITE_BUSY_SNAPSHOT
            if not is_busy or time.monotonic() >= until:
                raise
        else:
            return
        time.sleep(_BUSY_LOOK_S)

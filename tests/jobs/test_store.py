"""The database: its schema, its versions, and what it refuses by itself."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert, text
from sqlalchemy.exc import IntegrityError, OperationalError

from proxy_app.jobs.states import ACTIVE, State
from proxy_app.settings import SettingError
from proxy_app.store import Base, Job, SchemaError, Store
from proxy_app.store import engine as engines
from proxy_app.store.engine import HEAD


def row(number: int, **values: object) -> dict[str, Any]:
    plain = {
        "id": f"job{number}", "kind": "whisperx.install", "executor": "playbook", "host": "spark1",
        "service": "whisperx", "target": "whisperx", "lane": "host", "state": "queued",
        "preview": False, "force": False, "variables": {}, "phases": [], "by": "test", "why": "",
        "reason": "", "limit_s": 60.0, "created_at": 1.0,
    }  # fmt: skip
    return plain | values


def add(store: Store, number: int, **values: object) -> None:
    with store.session() as session:
        session.execute(insert(Job), [row(number, **values)])


def test_the_migrations_make_what_the_models_say(store: Store) -> None:
    with store.session() as session:
        connection = session.connection()
        found = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert found == []
    assert store.version() == HEAD


def test_sqlite_writes_ahead_so_that_readers_do_not_wait(tmp_path: Path) -> None:
    store = Store(None, tmp_path)
    with store.session() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
    store.close()


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import sqlite3, sys, gevent
from pathlib import Path
from sqlalchemy import text
from proxy_app.store import Store

folder = Path(sys.argv[1])
store = Store(None, folder)
with store.session() as session:
    session.execute(text("CREATE TABLE t (a int)"))
other = sqlite3.connect(folder / "speech.db", isolation_level=None)
other.execute("BEGIN IMMEDIATE")

def write(many):
    with store.session() as session:
        session.execute(text("INSERT INTO t VALUES (:a)"), [{"a": 1}] * many)

writers = [gevent.spawn(write, many) for many in (1, 2)]
gevent.sleep(0.1)  # a process that stands still would never come to the commit
assert not any(writer.dead for writer in writers)
other.execute("COMMIT")
gevent.joinall(writers, raise_error=True)
with store.session() as session:
    print(session.scalar(text("SELECT count(*) FROM t")))
"""


def test_who_waits_for_anothers_write_lets_the_processs_greenlets_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", GREENLETS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("3\n", 0), done.stderr


def test_nobody_waits_for_ever_for_anothers_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(None, tmp_path)
    add(store, 1)
    monkeypatch.setattr(engines, "BUSY_S", 0.1)
    other = sqlite3.connect(tmp_path / "speech.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"):
        add(store, 2, host="spark2")
    other.close()
    add(store, 2, host="spark2")
    store.close()


@pytest.mark.parametrize("state", ACTIVE)
def test_the_database_refuses_a_second_active_job_of_a_host(store: Store, state: State) -> None:
    add(store, 1, state=state)
    with pytest.raises(IntegrityError):
        add(store, 2, service="parakeet", target="parakeet")
    add(store, 3, host="spark2")


@pytest.mark.parametrize("lane", ["host", "service"])
def test_the_database_refuses_a_second_active_job_of_a_service(store: Store, lane: str) -> None:
    add(store, 1, lane=lane)
    with pytest.raises(IntegrityError):
        add(store, 2, lane="service", kind="service.restart")
    add(store, 3, lane="service", kind="service.restart", service="parakeet", target="parakeet")


def test_what_is_over_is_in_nobodys_way(store: Store) -> None:
    for number, state in enumerate(state for state in State if state.is_over):
        add(store, number, state=state)
    add(store, 99)


def test_a_number_is_never_given_twice(store: Store) -> None:
    add(store, 1)
    with store.session() as session:
        first = session.scalar(text("SELECT number FROM jobs"))
        session.execute(text("DELETE FROM jobs"))
    add(store, 2)
    with store.session() as session:
        assert session.scalar(text("SELECT number FROM jobs")) > first


def test_many_processes_at_once_bring_an_empty_database_up_to_date(
    database_url: str | None, tmp_path: Path
) -> None:
    together = threading.Barrier(4)

    def first_use(_number: int) -> str | None:
        store = Store(database_url, tmp_path)  # each with locks and connections of its own
        together.wait()
        with store.session() as session:
            session.execute(text("SELECT number FROM jobs"))
        version = store.version()
        store.close()
        return version

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(first_use, range(4))) == {HEAD}


def test_a_database_of_a_newer_version_is_refused_and_left_alone(
    database_url: str | None, tmp_path: Path
) -> None:
    store = Store(database_url, tmp_path)
    with store.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    again = Store(database_url, tmp_path)
    with pytest.raises(SchemaError, match=r"schema 9999.*newer version"), again.session():
        pass
    with pytest.raises(SchemaError):
        again.version()
    again.close()


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "speech.db"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        # The last thing that the migration makes is there already.
        connection.execute(text("CREATE TABLE t (a int)"))
        connection.execute(text("CREATE INDEX jobs_by_state ON t (a)"))
    store = Store(None, tmp_path)
    with pytest.raises(Exception, match="jobs_by_state"), store.session():
        pass
    store.close()
    with engine.begin() as connection:
        tables = connection.scalars(text("SELECT name FROM sqlite_master")).all()
    engine.dispose()
    assert sorted(tables) == ["jobs_by_state", "t"]


@pytest.mark.parametrize("url", ["mysql://me:hunter2@db/x", "hunter2", "sqlite://", "://hunter2"])
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="SPEECH_DATABASE_URL: expected") as caught:
        Store(url, tmp_path)
    assert "hunter2" not in str(caught.value)


def test_who_reads_what_it_writes_lets_nobody_write_between(tmp_path: Path) -> None:
    store = Store(None, tmp_path)
    add(store, 1)
    file = str(store.engine.url.database)
    with contextlib.closing(sqlite3.connect(file, timeout=0)) as other:
        with store.session(writes=True) as session:
            job = session.get_one(Job, 1)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("UPDATE jobs SET reason = 'theirs'")
            job.reason = "ours"
        assert other.execute("SELECT reason FROM jobs").fetchall() == [("ours",)]
    store.close()


def test_what_another_one_has_changed_since_it_was_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(None, tmp_path)
    add(store, 1)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(engines, "BUSY_S", 0.1)
    with contextlib.suppress(OperationalError), store.session(writes=False) as session:
        session.execute(text("SELECT count(*) FROM jobs")).all()
        add(store, 2, host="spark2")
        with pytest.raises(OperationalError) as failed:
            session.execute(text("UPDATE jobs SET host = 'spark3'"))
        raise failed.value
    assert isinstance(failed.value.orig, sqlite3.OperationalError)
    assert failed.value.orig.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT
    assert waits == []

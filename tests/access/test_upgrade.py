"""Databases that older versions have made, with rows in them, come up to date."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select

from proxy_app.jobs import Jobs
from proxy_app.jobs.ledger import ActiveJobError
from proxy_app.jobs.states import State
from proxy_app.store import Base, Job, Store, copies, migrations
from proxy_app.store.engine import HEAD
from tests.jobs.orders import an_order

OLD = Path(__file__).with_name("old")
VERSIONS = ["0001"]
"""Those of which a database is kept in old/."""


def lay_down(version: str, url: str | None, folder: Path) -> None:
    """Make the database of an old version."""
    if url is None:
        with closing(sqlite3.connect(folder / "speech.db")) as connection:
            connection.executescript((OLD / f"{version}.sqlite.sql").read_text())
    else:
        with psycopg.connect(url) as connection:
            connection.execute((OLD / f"{version}.postgresql.sql").read_bytes())


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_database_comes_up_to_date_with_all_its_rows(
    version: str, database_url: str | None, tmp_path: Path
) -> None:
    lay_down(version, database_url, tmp_path)
    store = Store(database_url, tmp_path)
    assert store.version() == version
    jobs = Jobs(store, tmp_path / "jobs")
    first, canceled, restart, preview, running = reversed(jobs.history())
    assert store.version() == HEAD
    assert [job.number for job in (first, canceled, restart, preview, running)] == [1, 2, 3, 4, 5]
    assert first.variables == {"whisperx_model": "large-v3", "whisperx_memory": "40g"}
    assert (first.state, first.reason) == (State.SUCCEEDED, "Grüße: it runs.")
    assert first.phases[0]["finished_at"] == 2.5
    assert (canceled.state, canceled.rerun_of, canceled.why) == ("canceled", first.id, "asked")
    assert (restart.state, restart.by, restart.lane) == ("queued", "the watch", "service")
    assert preview.preview
    assert running.variables == {"nested": {"list": [1, 2.5, None, True]}}
    assert running.state == State.LOST  # its process is not here
    with pytest.raises(ActiveJobError):
        jobs.add(an_order(host="spark1", service="whisperx", target="whisperx", lane="service"))
    assert jobs.add(an_order(host="spark3")).number > 5
    with store.session() as session:
        found = compare_metadata(MigrationContext.configure(session.connection()), Base.metadata)
    assert found == []
    store.close()


def test_every_version_leads_to_the_newest_with_its_rows(
    database_url: str | None, tmp_path: Path
) -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    versions = [script.revision for script in scripts.walk_revisions()]
    assert versions[0] == HEAD
    rows = [("jobs", row(number)) for number in (1, 7)]
    for version in versions:
        store = Store(database_url, tmp_path)
        copies.replace(store.engine, version, rows)
        assert store.version() == HEAD
        with store.session() as session:
            assert session.scalars(select(Job.number).order_by(Job.number)).all() == [1, 7]
        assert Jobs(store, tmp_path / "jobs").add(an_order(host=f"after{version}")).number == 8
        store.close()


def row(number: int) -> dict[str, object]:
    """What 0001 had of a job, and every version since has."""
    return {
        "number": number, "id": f"job{number}", "kind": "whisperx.install", "executor": "playbook",
        "host": "spark1", "service": "whisperx", "target": "whisperx", "lane": "host",
        "state": "succeeded", "preview": False, "force": False, "variables": {}, "phases": [],
        "by": "test", "why": "", "reason": "", "limit_s": 60.0, "created_at": 1.0,
    }  # fmt: skip


def test_what_fails_on_the_way_leaves_the_old_database(
    database_url: str | None, tmp_path: Path
) -> None:
    lay_down("0001", database_url, tmp_path)
    store = Store(database_url, tmp_path)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE login_tries (a int)")  # one that 0004 makes
    with pytest.raises(Exception, match="login_tries"):
        Jobs(store, tmp_path / "jobs").history()
    assert store.version() == "0001"
    with store.snapshot() as connection:
        assert len([name for name, _row in copies.rows(connection) if name == "jobs"]) == 5
    store.close()

"""What clients are told of a database that has no room."""

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DatabaseError, OperationalError

from proxy_app.errors.translations import as_api_error


def test_a_full_disk_of_the_database_is_told_as_a_full_disk() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        with pytest.raises(DatabaseError) as caught:
            connection.exec_driver_sql("CREATE TABLE jobs (number INTEGER)")
    engine.dispose()
    theirs = OperationalError("INSERT", {"by": "hunter2"}, psycopg.errors.DiskFull())
    for error in (caught.value, theirs):
        told = as_api_error(error)
        assert (told.status, told.code) == (507, "storage_full")
        assert "hunter2" not in told.message


def test_any_other_trouble_of_the_database_is_told_as_that() -> None:
    error = OperationalError("INSERT", {}, psycopg.errors.AdminShutdown())
    told = as_api_error(error)
    assert (told.status, told.code) == (503, "database_unavailable")

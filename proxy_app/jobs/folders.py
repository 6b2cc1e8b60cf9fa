"""A job's folder: its locks, its events, and what its process works with.

The lock is an flock that the job's process holds for as long as it lives: the kernel frees it
whatever ends the process, so that a job without its lock is a job without its process. The playbook
has one of its own, as it may outlive its worker for a moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from proxy_app.flocks import is_held


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The files of one job, for this user alone."""

    path: Path

    @property
    def lock(self) -> Path:
        """Held by the job's process, whose pid is in it."""
        return self.path / "lock"

    @property
    def playbook_lock(self) -> Path:
        """Held by ansible-playbook: plugins/plugin_utils/runs.py of the collection looks at it."""
        return self.path / "playbook.lock"

    @property
    def events(self) -> Path:
        """What happened, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def output(self) -> Path:
        """What the job's process itself printed: nothing, where all is well."""
        return self.path / "worker.log"

    @property
    def work(self) -> Path:
        """What is there only while the job runs."""
        return self.path / "work"

    def take(self) -> int | None:
        """Make the folder and take the lock, as a descriptor; None where somebody holds it."""
        for folder in (self.path.parent, self.path):
            folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def is_held(self) -> bool:
        """Whether a process holds the lock."""
        return is_held(self.lock)

    def is_at_work(self) -> bool:
        """Whether the job's process lives, or a playbook that has outlived it."""
        return self.is_held() or is_held(self.playbook_lock)

    def playbooks(self) -> list[int]:
        """The pids of the playbook and what it has forked."""
        lock, found = self.playbook_lock.resolve(), []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or is somebody else's
                if any(fd.readlink() == lock for fd in (process / "fd").iterdir()):
                    found.append(int(process.name))
        return found

    def holder(self) -> int | None:
        """The pid of the process that holds the lock, once it has written it there."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self.lock.read_text(encoding="ascii"))
            return pid if self.is_held() else None
        return None

    def clear(self) -> None:
        """Remove what only the run needed."""
        shutil.rmtree(self.work, ignore_errors=True)

    def remove(self) -> None:
        """Remove all of it, once nothing works with it."""
        if not self.is_at_work():
            shutil.rmtree(self.path, ignore_errors=True)

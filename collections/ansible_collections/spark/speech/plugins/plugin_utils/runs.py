# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""Which run of ansible-playbook this is, and whether another one of this machine is over.

`always` blocks do not run when a run is killed, so what it held is told by whether it still lives.
Runs on the machine that ansible-playbook runs on.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import platform
from pathlib import Path


def this_run() -> str:
    """PID.START.MACHINE of this ansible-playbook; the same in all of its workers."""
    parent = multiprocessing.parent_process()
    return _name(os.getpid() if parent is None or parent.pid is None else parent.pid)


def is_over(run: str) -> bool:
    """Whether a run of this machine has ended; of another machine's run that is not known here."""
    pid, _dot, rest = run.partition(".")
    return rest.endswith(f".{_machine()}") and _name(pid) != run


def _name(pid: int | str) -> str:
    return f"{pid}.{_started(pid)}.{_machine()}"


def _machine() -> str:
    """Where a process id means something: this boot of this machine, and this container of it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    namespace = Path("/proc/self/ns/pid").readlink()
    return hashlib.sha256(f"{platform.node()} {boot} {namespace}".encode()).hexdigest()[:12]


def _started(pid: int | str) -> str:
    """When a process began, in ticks since the machine did; "none" where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "none"
    return stat.rpartition(")")[2].split()[19]

# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""Which run of ansible-playbook this is, and whether another one is over, as far as that is known.

`always` blocks do not run when a run is killed, so what it held is told by whether it still lives.
A run's name is that of its process:

- PID.START.BOOT.MACHINE outside of containers, where a machine can be told from another one;
- PID.START.PLACE elsewhere: a place is one boot and one PID namespace.

-INSTALLATION-JOB follows where it is a job of the page. Its process holds an flock in the job's
folder for as long as it lives, which tells the truth after reboots and in containers made anew.

Runs on the machine that ansible-playbook runs on.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import multiprocessing
import os
import platform
import re
import secrets
import tempfile
from pathlib import Path

INSTALLATION, FOLDER = "SPEECH_RUN_OF", "SPEECH_RUN_FOLDER"
"""The page's job tells its playbook by these variables what it belongs to, and its own folder."""
LOCK = "playbook.lock"
"""What the playbook's process holds in that folder."""
_NAME = re.compile(
    r"(?P<pid>[0-9]+)\.(?P<start>[0-9]+)\.(?P<place>[0-9a-f]+)(\.(?P<machine>[0-9a-f]+))?"
    r"(-(?P<installation>[0-9a-f]+)-(?P<job>[0-9a-f]+))?"
)
_MACHINE_ID = Path("/etc/machine-id")
_IS_MACHINE_ID = re.compile(r"[0-9a-f]{32}")  # machine-id(5)
_MARK_BYTES = 16
_FIRST_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO of the kernel


def this_run() -> str:
    """Name this ansible-playbook; the same in all of its workers."""
    parent = multiprocessing.parent_process()
    pid = os.getpid() if parent is None or parent.pid is None else parent.pid
    name = f"{pid}.{_started(pid)}.{_boot_and_machine() or _place()}"
    if INSTALLATION in os.environ and FOLDER in os.environ:
        name += f"-{os.environ[INSTALLATION]}-{Path(os.environ[FOLDER]).name}"
    return name


def is_over(run: str) -> bool:
    """Whether a run is known to have ended; of one that nothing is known of: no."""
    name = _NAME.fullmatch(run)
    if name is None:
        return False
    if name["job"] and name["installation"] == os.environ.get(INSTALLATION):
        return not _is_played(name["job"])
    if name["machine"] is None:
        return name["place"] == _place() and _has_ended(name["pid"], name["start"])
    here = _boot_and_machine()
    if here is None or here.partition(".")[2] != name["machine"]:
        return False
    is_this_boot = here == f"{name['place']}.{name['machine']}"
    return not is_this_boot or _has_ended(name["pid"], name["start"])


def _is_played(job: str) -> bool:
    """Whether the playbook of a job of our installation may be alive."""
    try:
        lock = os.open(Path(os.environ[FOLDER]).with_name(job) / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False  # of an old job nothing is kept
    except (KeyError, OSError):
        return True
    try:
        # Shared: two that look at the same time do not take each other for the playbook.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def _has_ended(pid: str, start: str) -> bool:
    """Whether a process of this boot and namespace has ended."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # somebody else's
    return _started(pid) not in ("", start)


def _started(pid: int | str) -> str:
    """When a process began, in ticks since the machine did; empty where that cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _place() -> str:
    """Where a process id means something: this boot of this machine, and this container of it."""
    return _hashed(f"{platform.node()} {_boot()} {_namespace()}")


def _boot_and_machine() -> str | None:
    """BOOT.MACHINE; None in a container, or where the machine cannot be told from others.

    Machines that are made from one image may have one id and one name, so that a number that we
    have made up ourselves counts as well.
    """
    if _namespace() != _FIRST_NAMESPACE:
        return None
    try:
        machine = _MACHINE_ID.read_text(encoding="ascii").strip()
        mark = _mark(Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser())
    except (OSError, UnicodeDecodeError, RuntimeError):
        return None
    if not _IS_MACHINE_ID.fullmatch(machine) or len(mark) != _MARK_BYTES:
        return None
    return f"{_hashed(_boot())}.{_hashed(f'{platform.node()} {machine} {mark.hex()}')}"


def _mark(state: Path) -> bytes:
    """Random bytes that are made at the first use: by one of several workers."""
    path = state / "spark-speech/machine"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent) as new:
            new.write(secrets.token_bytes(_MARK_BYTES))
            new.flush()
            os.fsync(new.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(new.name, path)
    return path.read_bytes()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

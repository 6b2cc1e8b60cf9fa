#!/usr/bin/python
# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0), which may be
# combined with the GNU General Public License v3.0 that Ansible itself is under
# SPDX-License-Identifier: Apache-2.0
"""Let one run at a time work on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_lock
short_description: Let one run at a time work on a host
description:
  - Takes, renews and gives back locks of a host. The page, a workstation and a pipeline all take
    them before they change anything, so that two runs never work against each other.
  - The lock is a lease in a file that names its holder. A run that died loses it with its lease.
version_added: 0.1.0
author: Spark Speech (@spark-speech)
options:
  state:
    description:
      - V(held) takes the lock, or renews it for the same O(run_id).
      - V(released) gives it back. The lock of another run is refused, no lock at all is well.
    type: str
    choices: [held, released]
    default: held
  run_id:
    description:
      - Whose lock it is. The same run may take it many times, from any of its plays.
      - Made up and returned where it is not given. Required with O(state=released).
    type: str
  holder:
    description: Who is at work, for people who find the lock taken. Required with O(state=held).
    type: str
  paths:
    description:
      - The files, one for each lock, taken in this order, all of them or none.
      - A file's folder is made with mode 0700 where it is missing, and goes with the lock if it
        holds nothing else.
    type: list
    elements: path
    default: [~/.spark-speech/lock.json]
  lease_s:
    description: Seconds until the lock is anybody's, unless it is renewed.
    type: int
    default: 900
  break_lock:
    description: Take or remove the lock whoever holds it, and a file that is no lock as well.
    type: bool
    default: false
  lost_run:
    description: A run that is known to be no more. Its locks are taken while their lease goes on.
    type: str
    default: ''
attributes:
  check_mode:
    description: Nothing is written. A lock of another run fails as it would without check mode.
    support: full
  diff_mode:
    description: There is none, as a lock is not a change of the host.
    support: none
  idempotent:
    description: It never reports a change. Taking the lock again renews the lease.
    support: full
"""

EXAMPLES = r"""
- name: Lock | Ensure this run alone works on the host
  spark.speech.host_lock:
    holder: "{{ lookup('ansible.builtin.env', 'USER') }} from a workstation"
  register: lock

- name: Unlock | Ensure the next run may work on the host
  spark.speech.host_lock:
    state: released
    run_id: "{{ lock.run_id }}"
"""

RETURN = r"""
run_id:
  description: Whose lock it is now. Pass it on to the tasks that follow.
  returned: success
  type: str
  sample: 5f0c6e5cbb2e4d58
holder:
  description: Who holds the lock now. Empty after a release.
  returned: success
  type: str
  sample: page, by admin
since:
  description: Since when, in UTC. Empty after a release.
  returned: success
  type: str
  sample: "2026-03-01 12:00:00 UTC"
held_by:
  description: Which run holds the lock, where that is why it failed.
  returned: failure
  type: str
  sample: 5f0c6e5cbb2e4d58
until:
  description: Until when unless it is renewed, in UTC. Empty after a release.
  returned: success
  type: str
  sample: "2026-03-01 12:15:00 UTC"
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.spark.speech.plugins.module_utils.whole_files import put, words

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_MAX_LEASE_S = 86_400
_MAX_HOLDER = 200
_MAX_LOCK_BYTES = 4096
_GUARD_WAIT_S = 10
_BREAK = "break_lock (-e speech_break_lock=true)"


class RefusedError(Exception):
    """The lock cannot be had; the message says why and what to do.

    `held_by` names the run that holds it, where that is why.
    """

    def __init__(self, message: str, held_by: str = "") -> None:
        super().__init__(message)
        self.held_by = held_by


class GarbledError(Exception):
    """The file is there and is no lock."""


class Clock(NamedTuple):
    """What time it is: seconds since 1970, and since the boot that `boot` names.

    The second one neither jumps nor stands still while the machine sleeps, but ends with a reboot.
    """

    wall: float
    uptime: float
    boot: str

    @classmethod
    def now(cls) -> Clock:
        """Read the clocks of this machine."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return cls(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), boot)


class Lock(NamedTuple):
    """A lease as the file holds it, with the clock as it was when it was taken or renewed."""

    run_id: str
    holder: str
    since: float
    lease_s: int
    renewed: Clock

    def left(self, clock: Clock) -> float:
        """Give the seconds that remain; zero or less: the lease is over.

        Within one boot the wall clock has no say, so that a jump neither frees nor freezes a lock.
        After a reboot only the wall clock is left; one that is behind the lease is believed to be
        wrong, and the lease to be over.
        """
        if clock.boot == self.renewed.boot:
            return self.lease_s - (clock.uptime - self.renewed.uptime)
        passed = clock.wall - self.renewed.wall
        return self.lease_s - passed if passed >= 0 else 0

    def words(self, clock: Clock) -> str:
        """Name the holder and the times, for a message."""
        until = utc(clock.wall + self.left(clock))
        return f"{self.holder} (run {self.run_id}), since {utc(self.since)}, until {until}"


def utc(seconds: float) -> str:
    """Write a time for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def read(path: Path) -> Lock | None:
    """Read the lock; None where there is no file.

    Raises:
        GarbledError: the file cannot be read or holds something else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            told = json.loads(file.read(_MAX_LOCK_BYTES))
        lock = Lock(
            str(told["run_id"]),
            str(told["holder"]),
            float(told["since"]),
            int(told["lease_s"]),
            Clock(
                float(told["renewed"]["wall"]),
                float(told["renewed"]["uptime"]),
                str(told["renewed"]["boot"]),
            ),
        )
        utc(lock.since + lock.lease_s)  # a time that is none would only come to light in a message
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GarbledError(error.strerror or str(error)) from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise GarbledError(f"it holds something else: {error!r}") from None
    return lock


def write(path: Path, lock: Lock) -> None:
    """Put the lock in place; the guard makes the name under which it is begun ours alone."""
    text = json.dumps(dict(lock._asdict(), renewed=lock.renewed._asdict()), indent=1)
    put(path, text.encode() + b"\n")


@contextlib.contextmanager
def guard(folder: Path) -> Iterator[None]:
    """Let one process at a time read the lock and then write it.

    It is an flock on the folder: there is no second file that could be left behind, and it ends
    with its process.

    Raises:
        FileNotFoundError: the folder is gone; another run has just removed it with its lock.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _flock(descriptor, folder)
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            raise FileNotFoundError(errno.ENOENT, "it was made anew", str(folder))
        yield
    finally:
        os.close(descriptor)


def _flock(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + _GUARD_WAIT_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise RefusedError(
                    f"Another process has kept {folder} locked for {_GUARD_WAIT_S} s: see which "
                    f"(`fuser {folder}`), end it and run again."
                ) from None
            time.sleep(0.02)
        except OSError as error:
            raise RefusedError(
                f"The file system of {folder} has no locks ({error.strerror}): choose a path on a "
                "local disk."
            ) from None


def prepare(folder: Path) -> None:
    """Make the folder where it is missing, for this user alone."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if folder.is_symlink() and not folder.exists():
            raise RefusedError(f"{folder} is a link to nothing: choose another path.") from None
    except OSError as error:
        raise RefusedError(
            f"{folder} cannot be made ({error.strerror}): choose another path."
        ) from None


def check(folder: Path) -> None:
    """Refuse a folder where somebody else could remove or forge the lock.

    Raises:
        FileNotFoundError: it is gone.
        RefusedError: it is no folder of this user's alone.
    """
    status = folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise RefusedError(f"{folder} is not a folder: choose another path.")
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise RefusedError(
            f"Others may write into {folder} and could remove the lock: run `chmod 700 {folder}` "
            "as its owner, or choose another path."
        )


class Taken(NamedTuple):
    """A lock as it is now, what there is to warn of, and whether it was this run's before."""

    lock: Lock | None
    warnings: list[str]
    was_ours: bool = False


def hold(
    path: Path, asked: Lock, clock: Clock, *, break_lock: bool, lost_run: str, dry: bool
) -> Taken:
    """Take or renew the lock; the caller holds the guard.

    Raises:
        RefusedError: somebody else holds it.
    """
    found, warnings = _found(path, break_lock=break_lock)
    was_ours = found is not None and found.run_id == asked.run_id
    if found is not None and was_ours:
        asked = asked._replace(since=found.since)
    elif found is not None and found.left(clock) <= 0:
        warnings.append(f"The lock of a run whose lease is over was taken: {found.words(clock)}.")
    elif found is not None and found.run_id == lost_run:
        warnings.append(f"The lock of a run that is no more was taken: {found.words(clock)}.")
    elif found is not None and break_lock:
        warnings.append(f"The lock was broken, as asked; it was held by {found.words(clock)}.")
    elif found is not None:
        raise RefusedError(
            f"Another run is at work here: {found.words(clock)} unless it is renewed. Wait for it. "
            f"If it is no more, run again with {_BREAK}, or delete {path} on this host.",
            held_by=found.run_id,
        )
    if not dry:
        write(path, asked)
    return Taken(asked, warnings, was_ours)


def release(path: Path, run_id: str, clock: Clock, *, break_lock: bool, dry: bool) -> Taken:
    """Give the lock back; the caller holds the guard.

    Raises:
        RefusedError: it is somebody else's.
    """
    found, warnings = _found(path, break_lock=break_lock)
    if found is not None and found.run_id != run_id:
        if not break_lock:
            raise RefusedError(
                f"The lock is not this run's ({run_id}), but {found.words(clock)}. It was left "
                f"alone: its run gives it back. If that is no more, run again with {_BREAK}, or "
                f"delete {path} on this host."
            )
        warnings.append(f"The lock was broken, as asked; it was held by {found.words(clock)}.")
    if not dry:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds more than the lock
            path.parent.rmdir()
    return Taken(None, warnings)


def _found(path: Path, *, break_lock: bool) -> tuple[Lock | None, list[str]]:
    try:
        return read(path), []
    except GarbledError as error:
        if break_lock:
            return None, [f"{path} was no lock ({error}), and was given up as asked."]
        raise RefusedError(
            f"{path} is there and is no lock that can be read: {error}. If no run is at work here, "
            f"delete it on this host, or run again with {_BREAK}."
        ) from None


def check_parameters(params: dict[str, Any]) -> None:
    """Refuse values that could not be told apart, shown or kept."""
    run_id, holder, lease_s = params["run_id"], params["holder"], params["lease_s"]
    # Ansible's required_if is content with a null.
    if params["state"] == "released" and run_id is None:
        raise RefusedError("run_id must say which run's lock is given back.")
    if params["state"] == "held" and holder is None:
        raise RefusedError("holder must say who is at work.")
    if run_id is not None and not _RUN_ID.fullmatch(run_id):
        raise RefusedError(
            "run_id must be 1 to 100 letters, digits, '_', '.' or '-', and begin with a letter or "
            f"digit, not {run_id!r}."
        )
    if holder is not None and not (0 < len(holder) <= _MAX_HOLDER and holder.isprintable()):
        raise RefusedError(
            f"holder must be one line of 1 to {_MAX_HOLDER} printable characters, not {holder!r}."
        )
    if not params["paths"]:
        raise RefusedError("paths must name at least one file.")
    if not 1 <= lease_s <= _MAX_LEASE_S:
        raise RefusedError(f"lease_s must be from 1 to {_MAX_LEASE_S} seconds, not {lease_s}.")


def act(params: dict[str, Any], *, dry: bool) -> Taken:
    """Do what the parameters ask, with one lock after the other; returns the last one.

    Raises:
        RefusedError: with what to do about it.
    """
    check_parameters(params)
    params = {**params, "run_id": params["run_id"] or uuid.uuid4().hex[:16]}
    done: dict[Path, Taken] = {}
    try:
        paths = params["paths"] if params["state"] == "held" else reversed(params["paths"])
        for path in map(Path, paths):
            done[path] = _act(path, params, dry=dry)
    except (RefusedError, OSError):
        for path, taken in done.items():
            if not taken.was_ours:
                _act(path, {**params, "state": "released"}, dry=dry)
        raise
    warnings = [warning for taken in done.values() for warning in taken.warnings]
    return Taken(list(done.values())[-1].lock, warnings)


def _act(path: Path, params: dict[str, Any], *, dry: bool) -> Taken:
    releasing, break_lock = params["state"] == "released", params["break_lock"]
    run_id = params["run_id"]
    while True:
        if not dry and not releasing:
            prepare(path.parent)
        elif not path.parent.exists():  # nothing to read, and nothing may be made
            return Taken(None if releasing else _asked(run_id, params), [])
        # The folder goes with its last lock, maybe just now: then once more.
        with contextlib.suppress(FileNotFoundError):
            check(path.parent)
            with guard(path.parent):
                asked = _asked(run_id, params)  # the lease counts from when the guard was had
                if releasing:
                    return release(path, run_id, asked.renewed, break_lock=break_lock, dry=dry)
                lost_run = params["lost_run"]
                return hold(
                    path, asked, asked.renewed, break_lock=break_lock, lost_run=lost_run, dry=dry
                )


def _asked(run_id: str, params: dict[str, Any]) -> Lock:
    clock = Clock.now()
    return Lock(run_id, params["holder"] or "", clock.wall, params["lease_s"], clock)


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
            "run_id": {"type": "str"},
            "holder": {"type": "str"},
            "paths": {
                "type": "list",
                "elements": "path",
                "default": ["~/.spark-speech/lock.json"],
            },
            "lease_s": {"type": "int", "default": 900},
            "break_lock": {"type": "bool", "default": False},
            "lost_run": {"type": "str", "default": ""},
        },
        required_if=[("state", "held", ["holder"]), ("state", "released", ["run_id"])],
        supports_check_mode=True,
    )
    try:
        taken = act(module.params, dry=module.check_mode)
    except RefusedError as error:
        module.fail_json(msg=str(error), held_by=error.held_by)
        return
    except OSError as error:
        module.fail_json(msg=words(error))
        return
    for warning in taken.warnings:
        module.warn(warning)
    lock = taken.lock
    module.exit_json(
        changed=False,
        run_id=lock.run_id if lock else module.params["run_id"],
        holder=lock.holder if lock else "",
        since=utc(lock.since) if lock else "",
        until=utc(lock.renewed.wall + lock.lease_s) if lock else "",
    )


if __name__ == "__main__":
    main()

# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""Write a file so that a reader finds the old one or the new one, never half.

Python 3.8 or newer and its standard library.
"""

from __future__ import annotations

import errno
import glob
import os
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)


def put(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put DATA in place in one step and for good; what begins to be written is NAME.new.PID.

    Raises:
        OSError: it cannot be written, with its path; nothing of it is left.
    """
    forget_begun(path)
    new = path.with_name(f"{path.name}.new.{os.getpid()}")
    # O_EXCL: a link that somebody laid there is not followed.
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        new.replace(path)
    except BaseException as error:
        new.unlink(missing_ok=True)
        if isinstance(error, OSError):  # that of a write names no file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def forget_begun(path: Path) -> None:
    """Remove what processes that are no more, or this one, began to write of the file."""
    for begun in path.parent.glob(f"{glob.escape(path.name)}.new.*"):
        pid = begun.name.rpartition(".")[2]
        if pid.isdigit() and not _is_anothers(int(pid)):
            begun.unlink(missing_ok=True)


def _is_anothers(pid: int) -> bool:
    """Whether another process has this number."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def words(error: OSError) -> str:
    """Say which file could not be read or written, why, and what to do where a disk is full."""
    said = f"{error.filename}: {error.strerror}"
    if error.errno not in _FULL:
        return said
    return f"{said}. Make room there (`df -h` and `quota` tell what is left) and run again."

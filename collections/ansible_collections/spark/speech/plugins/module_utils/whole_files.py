# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""Write a file so that a reader finds the old one or the new one, never half.

Python 3.8 or newer and its standard library.
"""

from __future__ import annotations

import os
from pathlib import Path


def put(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put DATA in place in one step and for good; what begins to be written is NAME.new.PID."""
    new = path.with_name(f"{path.name}.new.{os.getpid()}")
    new.unlink(missing_ok=True)
    # O_EXCL: a link that somebody laid there is not followed.
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    new.replace(path)

"""Random bytes that are made once and kept in a file, whichever process is first."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

LENGTH = 32


def random_bytes(path: Path) -> bytes:
    """The 32 bytes of a file for this user alone; made, with its folder, at the first use."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size != LENGTH:
        path.unlink()  # torn: of an empty one anybody knows what is in it
    if not path.exists():
        new = path.with_name(f"{secrets.token_hex(8)}.new")
        with open(new, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(secrets.token_bytes(LENGTH))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(new, path)
        except FileExistsError:
            pass  # another process was first
        finally:
            new.unlink()
    return path.read_bytes()

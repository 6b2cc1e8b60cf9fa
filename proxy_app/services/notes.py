"""Small files of JSON that processes share: replaced as a whole, and none where they are broken."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

_told: set[Path] = set()
"""Files that were found broken, and said to be so."""


def put(path: Path, content: object) -> None:
    """Replace a file, for this user alone; what a machine leaves that goes down is whole.

    Raises:
        OSError: it cannot be written, and is as it was.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    new = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:  # the disk is full
        new.unlink(missing_ok=True)
        raise


def get(path: Path, made: Callable[[Any], T]) -> T | None:
    """What is made of a file's content; None where there is none, or none that can be read.

    Args:
        path: the file.
        made: may raise ValueError, TypeError or LookupError for content of another shape.
    """
    try:
        found = made(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        if path not in _told:
            _told.add(path)
            log.warning("%s cannot be read, and counts as missing: %r", path, error)
        return None
    _told.discard(path)
    return found

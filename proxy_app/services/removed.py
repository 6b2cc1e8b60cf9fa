"""Services that a person has removed on the page: hidden until they are registered otherwise.

The database has them; this file repeats them for every process that reads registrations, as no
request may have to wait for a database.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy_app.services.registry import Service


def digest(service: Service) -> str:
    """SHA-256 of a registration, its key left out."""
    fields = asdict(replace(service, api_key=None))
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


class Removed:
    """The file with the digests of what is hidden, by the services' names."""

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / "removed.json"

    def write(self, digests: Mapping[str, str]) -> None:
        """Replace the file as a whole, where it is to be another one."""
        if digests == self._read():
            return
        new = self._file.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(dict(digests)))
        new.replace(self._file)

    def hides(self, services: Mapping[str, Service]) -> set[str]:
        """The names of those that are hidden."""
        digests = self._read()
        return {
            name for name in digests.keys() & services.keys()
            if digests[name] == digest(services[name])
        }  # fmt: skip

    def _read(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found

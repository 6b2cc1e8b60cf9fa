"""Services that a person has removed on the page: hidden until they are registered otherwise.

The database has them; this file repeats them for every process that reads registrations, as no
request may have to wait for a database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from proxy_app.services import notes

if TYPE_CHECKING:
    from proxy_app.services.registry import Service


def digest(service: Service) -> str:
    """SHA-256 of a registration, its key left out."""
    fields = asdict(replace(service, api_key=None))
    if service.places is None:  # what was removed before registrations had it stays removed
        del fields["places"]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


class Removed:
    """The file with the digests of what is hidden, by the services' names.

    Attributes:
        file: where it is, if anything was removed.
    """

    def __init__(self, state_dir: Path) -> None:
        self.file = state_dir / "removed.json"

    def write(self, digests: Mapping[str, str]) -> None:
        """Replace the file as a whole, where it is to be another one."""
        if not self.file.exists() and not digests:
            return
        if digests != self._read():
            notes.put(self.file, dict(digests))

    def hides(self, services: Mapping[str, Service]) -> set[str]:
        """The names of those that are hidden."""
        digests = self._read() or {}
        return {
            name for name in digests.keys() & services.keys()
            if digests[name] == digest(services[name])
        }  # fmt: skip

    def _read(self) -> dict[str, str] | None:
        return notes.get(self.file, lambda content: {**content})

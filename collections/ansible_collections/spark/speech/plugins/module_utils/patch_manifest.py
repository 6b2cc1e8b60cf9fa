# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""What a patch of a container has changed, kept on the host so that all of it can be taken back.

A folder of its own for each container: manifest.json, and originals/ with the files as they were,
named by their hashes. It is written before the first change of the container.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.spark.speech.plugins.module_utils.container_files import File
from ansible_collections.spark.speech.plugins.module_utils.whole_files import put

_MAX_MANIFEST_BYTES = 2**20
_ABSENT = "absent"


class ManifestError(Exception):
    """The manifest is there and cannot be used; the message says what to do."""


class Entry(NamedTuple):
    """One file: as it was before (None: it was not there), and the hashes that patches gave it."""

    original: File | None
    ours: tuple[str, ...] = ()

    def knows(self, current: File | None) -> bool:
        """Whether these bytes are the original's or a patch's; a missing file is nobody's edit."""
        if current is None or current.sha256 in self.ours:
            return True
        return self.original is not None and current.sha256 == self.original.sha256


class Manifest(NamedTuple):
    """The files of one patch in one container, by their paths there."""

    container_id: str
    image_id: str
    entries: dict[str, Entry]


class Folder:
    """Where the manifest of a container lies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._manifest = path / "manifest.json"
        self._originals = path / "originals"

    def exists(self) -> bool:
        """Whether there is a manifest, be it of this container or of one that is gone."""
        return self._manifest.exists()

    def read(self, container_id: str) -> Manifest | None:
        """Read the manifest of this very container; None where there is none.

        Raises:
            ManifestError: something of it is missing, or is not what was written.
        """
        try:
            with self._manifest.open("rb") as file:
                told = json.loads(file.read(_MAX_MANIFEST_BYTES))
            if told["container_id"] != container_id:
                return None
            entries = {item["path"]: self._entry(item) for item in told["files"]}
            return Manifest(container_id, str(told["image_id"]), entries)
        except FileNotFoundError as error:
            if not self.exists():
                return None
            raise self._broken(f"{error.filename} is missing") from None
        except (KeyError, TypeError, ValueError) as error:
            raise self._broken(f"it holds something else ({error!r})") from None

    def write(self, manifest: Manifest) -> None:
        """Write it for good: the originals first, then the file that says where they are."""
        self._originals.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)  # mkdir leaves the mode of parents to the umask
        originals = {
            entry.original.sha256: entry.original.data
            for entry in manifest.entries.values()
            if entry.original
        }
        for name, data in originals.items():
            put(self._originals / name, data)
        files = [_told(path, entry) for path, entry in sorted(manifest.entries.items())]
        told = {**manifest._asdict(), "files": files}
        del told["entries"]
        put(self._manifest, json.dumps(told, indent=1).encode() + b"\n")
        for old in self._originals.iterdir():
            if old.name not in originals:
                old.unlink()

    def remove(self) -> None:
        """Remove it all: the manifest first, as what says that the rest is needed."""
        self._manifest.unlink(missing_ok=True)
        if self._originals.is_dir():
            for old in self._originals.iterdir():
                old.unlink()
            self._originals.rmdir()
        with contextlib.suppress(OSError):  # it holds something that is not ours
            self.path.rmdir()
            self.path.parent.rmdir()

    def _entry(self, item: dict[str, Any]) -> Entry:
        told = item["original"]
        if told == _ABSENT:
            return Entry(None, tuple(item["ours"]))
        data = (self._originals / told["sha256"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != told["sha256"]:
            raise ValueError(f"originals/{told['sha256']} was changed")
        mode = int(told["mode"], 8)
        original = File(data, mode, int(told["uid"]), int(told["gid"]), int(told["mtime"]))
        return Entry(original, tuple(item["ours"]))

    def _broken(self, why: str) -> ManifestError:
        return ManifestError(
            f"{self._manifest} cannot be used: {why}. Delete {self.path} and run again: the copy "
            "that a patch keeps beside each file it edits, in the container, is used instead."
        )


def _told(path: str, entry: Entry) -> dict[str, Any]:
    original: Any = _ABSENT
    if entry.original:
        original = {
            "sha256": entry.original.sha256,
            "mode": f"{entry.original.mode:04o}",
            "uid": entry.original.uid,
            "gid": entry.original.gid,
            "mtime": entry.original.mtime,
        }
    return {"path": path, "original": original, "ours": list(entry.ours)}

# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""A patch and one container: what is found there, and the ways to change it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.spark.speech.plugins.module_utils.container_files import (
    ContainerFileError,
    ContainerFiles,
    File,
)
from ansible_collections.spark.speech.plugins.module_utils.docker_cli import Docker
from ansible_collections.spark.speech.plugins.module_utils.patch_manifest import (
    Entry,
    Folder,
    Manifest,
)
from ansible_collections.spark.speech.plugins.module_utils.patch_plan import (
    Patch,
    PatchError,
    drifted,
    same,
    standing,
)


class RefusedError(Exception):
    """What was asked for is not done; the message says why and what to do."""


class Found(NamedTuple):
    """A container's files, as they were and as they are.

    `foreign`: files that the patch would add, and that are there without it. `orphaned`: files with
    a patch in them of which neither a manifest nor a copy tells what they were.
    """

    entries: dict[str, Entry]
    current: dict[str, File | None]
    foreign: list[str]
    orphaned: list[str]


def survey(files: ContainerFiles, patch: Patch, manifest: Manifest | None) -> Found:
    """Read the files of the patch; where no manifest tells what they were, the copies do."""
    found = Found(dict(manifest.entries) if manifest else {}, {}, [], [])
    copied = False
    for edit in patch.edits:
        current, copy = files.read(edit.path), files.read(patch.copy_of(edit.path))
        found.current.update({edit.path: current, patch.copy_of(edit.path): copy})
        if edit.path not in found.entries:
            copied = copied or copy is not None
            found.entries[edit.path] = Entry(copy or current)
            found.entries[patch.copy_of(edit.path)] = Entry(None, (copy.sha256,) if copy else ())
            if copy is None and current and patch.marker.encode() in current.data:
                found.orphaned.append(edit.path)
    for addition in patch.additions:
        current = found.current[addition.path] = files.read(addition.path)
        if addition.path not in found.entries:
            found.entries[addition.path] = Entry(None if copied else current)
            if current and not copied:
                found.foreign.append(addition.path)
    for path in found.entries:
        if path not in found.current:  # of an older version of the patch
            found.current[path] = files.read(path)
    return found


class Work:
    """One patch and one container, which is named by its id from here on."""

    def __init__(
        self, docker: Docker, name: str, container: dict[str, Any], patch: Patch, folder: Path
    ) -> None:
        self.name = name
        self.folder = Folder(folder)
        self._id, self._image = container["Id"], container["Image"]
        self.paused = container["State"]["Status"] == "paused"
        self._files = ContainerFiles(docker, self._id)
        self.patch = patch
        self._manifest = self.folder.read(self._id)
        self.found = survey(self._files, patch, self._manifest)
        self.misfit = ""
        self.wanted: dict[str, File] | None = None
        if patch.edits or patch.additions:
            try:
                self.wanted = patch.apply(self.found.entries, int(time.time()))
            except PatchError as error:
                self.misfit = str(error)
        self.drifted = drifted(self.found.entries, self.wanted, self.found.current)

    @property
    def state(self) -> str:
        """How the container is: pristine, patched, partial or drifted."""
        if self.drifted or self.found.orphaned:
            return "drifted"
        return standing(self.found.entries, self.wanted, self.found.current)

    @property
    def manifest(self) -> str:
        """Of what container there is a manifest: none, current (this one) or stale (one before)."""
        if self._manifest:
            return "current"
        return "stale" if self.folder.exists() else "none"

    @property
    def pristine(self) -> dict[str, File | None]:
        """The files as they were. The copies come last: they are needed until all else is back."""
        paths = sorted(self.found.entries, key=self.patch.is_copy)
        return {path: self.found.entries[path].original for path in paths}

    @property
    def patched(self) -> dict[str, File | None]:
        """The files as the patch makes them; those that only an older version had go."""
        return {**(self.wanted or {}), **_without(self.pristine, self.wanted or {})}

    def hashes(self) -> list[dict[str, str]]:
        """Give each file's hashes: as found, before the patch, with the patch."""
        rows = []
        for path, entry in sorted(self.found.entries.items()):
            ours = _hash(self.wanted.get(path)) if self.wanted else "".join(entry.ours[-1:])
            hashes = {"upstream": _hash(entry.original), "patched": ours}
            rows.append({"path": path, "current": _hash(self.found.current[path]), **hashes})
        return rows

    def diff(self, target: dict[str, File | None]) -> list[dict[str, str]]:
        """Show the files that would change, as text."""
        rows = []
        for path, after in target.items():
            before = self.found.current[path]
            if not same(before, after):
                rows.append(
                    {
                        "before_header": self._header(path, before),
                        "after_header": self._header(path, after),
                        "before": self._text(path, before),
                        "after": self._text(path, after),
                    }
                )
        return rows

    def _header(self, path: str, file: File | None) -> str:
        how = f"mode {file.mode:04o}, owner {file.uid}:{file.gid}" if file else "absent"
        return f"{self.name}:{path} ({how})"

    def _text(self, path: str, file: File | None) -> str:
        if file is not None and self.patch.is_copy(path):
            return "(a copy of the file as it was)\n"
        return file.data.decode("utf-8", errors="replace") if file else ""

    def put_patch(self) -> None:
        """Patch the container; where that fails, all is put back as it was without the patch.

        Raises:
            RefusedError: it failed.
        """
        wanted = self.wanted or {}
        entries = {
            path: entry._replace(ours=(*entry.ours, wanted[path].sha256))
            if path in wanted
            else entry
            for path, entry in self.found.entries.items()
        }
        self.folder.write(Manifest(self._id, self._image, entries))
        try:
            self._put(self.patched, self.found.current)
        except ContainerFileError as error:
            try:
                self._put_back(None)
            except RefusedError as second:
                raise RefusedError(f"It was not patched: {error} {second}") from None
            raise RefusedError(f"It was not patched, and is as without it: {error}") from None
        self.folder.write(self.record)

    @property
    def record(self) -> Manifest:
        """The manifest of the finished patch."""
        entries = {
            path: Entry(self.found.entries[path].original, (file.sha256,))
            for path, file in (self.wanted or {}).items()
        }
        return Manifest(self._id, self._image, entries)

    @property
    def recorded(self) -> bool:
        """Whether the manifest is that of the finished patch."""
        return self._manifest == self.record

    def take_back(self) -> None:
        """Put every file back, and then forget about it.

        Raises:
            RefusedError: it failed; the manifest stays.
        """
        self._put_back(self.found.current)

    def _put_back(self, current: dict[str, File | None] | None) -> None:
        try:
            self._put(self.pristine, current or self._read(self.pristine))
        except ContainerFileError as error:
            raise RefusedError(
                f"The files of {self.name} could not all be put back: {error} Run again with state "
                f"absent; the originals are in {self.folder.path}."
            ) from None
        self.folder.remove()

    def _put(self, target: dict[str, File | None], current: dict[str, File | None]) -> None:
        for path, file in target.items():
            if file is not None and not file.same(current[path]):
                self._files.write(path, file)
        unwanted = [path for path, file in target.items() if file is None and current[path]]
        if unwanted:
            self._files.remove(unwanted)
        found = self._read(target)
        wrong = [path for path, file in target.items() if not same(found[path], file)]
        if wrong:
            raise ContainerFileError(f"{wrong[0]} is not what was written. What else writes it?")

    def _read(self, paths: Iterable[str]) -> dict[str, File | None]:
        return {path: self._files.read(path) for path in paths}


def _hash(file: File | None) -> str:
    return file.sha256 if file else ""


def _without(files: dict[str, File | None], others: dict[str, File]) -> dict[str, File | None]:
    return {path: file for path, file in files.items() if path not in others}

# Copyright: Contributors to Spark Speech
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
# SPDX-License-Identifier: Apache-2.0
"""What a patch makes of files, and how far the files that are found are from that. No I/O."""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible_collections.spark.speech.plugins.module_utils.container_files import File
from ansible_collections.spark.speech.plugins.module_utils.patch_manifest import Entry


class PatchError(Exception):
    """The patch does not fit the file; the message says why."""


class Requirement(NamedTuple):
    """A regular expression that a file has to match before it is edited, and what to say else."""

    pattern: str
    reason: str


class Addition(NamedTuple):
    """A file that the patch adds."""

    path: str
    content: bytes
    mode: int


class Edit(NamedTuple):
    """A block of lines for a file, to go before the first line that matches `before`."""

    path: str
    block: str
    before: str | None
    requires: tuple[Requirement, ...]


class Patch(NamedTuple):
    """The files of a patch, and its name, which marks what is its own."""

    name: str
    additions: tuple[Addition, ...]
    edits: tuple[Edit, ...]

    def copy_of(self, path: str) -> str:
        """Name the copy of an edited file that is kept beside it."""
        return f"{path}.pre-{self.name}"

    def is_copy(self, path: str) -> bool:
        """Whether this is the name of such a copy."""
        return path.endswith(f".pre-{self.name}")

    @property
    def marker(self) -> str:
        """The line before what is inserted."""
        return f"# BEGIN {self.name} (spark.speech)"

    def apply(self, entries: dict[str, Entry], now: int) -> dict[str, File]:
        """Make the files of the patched container, in the order in which they are to be written.

        What is edited comes last, so that nothing refers to a file that is not there yet. A file
        that is added belongs to the owner of the file that is edited. All are of the time `now`:
        Python takes a compiled file for current by the time and the length of its source.

        Raises:
            PatchError: a file is not the one that this patch is for.
        """
        edited = {
            edit.path: self._edited(edit, entries[edit.path].original)._replace(mtime=now)
            for edit in self.edits
        }
        originals = {path: entries[path].original for path in edited}
        owner = next(iter(edited.values())) if edited else File(b"", 0, 0, 0, 0)
        return {
            **{self.copy_of(path): file for path, file in originals.items() if file},
            **{
                added.path: File(added.content, added.mode, owner.uid, owner.gid, now)
                for added in self.additions
            },
            **edited,
        }

    def _edited(self, edit: Edit, original: File | None) -> File:
        if original is None:
            raise PatchError(f"There is no {edit.path} in this container.")
        try:
            text = original.data.decode("utf-8")
        except UnicodeDecodeError:
            raise PatchError(f"{edit.path} is no text in UTF-8.") from None
        for requirement in edit.requires:
            if not re.search(requirement.pattern, text, re.MULTILINE):
                raise PatchError(f"{edit.path} is not what this patch is for: {requirement.reason}")
        if self.marker in text:
            raise PatchError(f"{edit.path} holds {self.marker!r} already.")
        return original._replace(data=self._inserted(edit, text).encode("utf-8"))

    def _inserted(self, edit: Edit, text: str) -> str:
        newline = "\r\n" if "\r\n" in text else "\n"
        lines = re.findall(r"[^\n]*\n|[^\n]+", text)
        place = len(lines)
        if edit.before is not None:
            hits = (
                i for i, line in enumerate(lines) if re.search(edit.before, line.rstrip("\r\n"))
            )
            place = next(hits, place)
        if place and not lines[place - 1].endswith("\n"):
            lines[place - 1] += newline
        block = [self.marker, *edit.block.rstrip("\n").split("\n")]
        block.append(self.marker.replace("BEGIN", "END"))
        lines[place:place] = [line.rstrip("\r") + newline for line in block]
        return "".join(lines)


def same(one: File | None, other: File | None) -> bool:
    """Whether two files are the same in bytes, mode and owner, or both are not there."""
    return other is None if one is None else one.same(other)


def drifted(
    entries: dict[str, Entry], wanted: dict[str, File] | None, current: dict[str, File | None]
) -> list[str]:
    """List the files whose bytes are neither the original's nor a patch's."""

    def known(path: str) -> bool:
        hashes = {wanted[path].sha256} if wanted and path in wanted else set()
        found = current[path]
        return entries[path].knows(found) or (found is not None and found.sha256 in hashes)

    return [path for path in entries if not known(path)]


def standing(
    entries: dict[str, Entry], wanted: dict[str, File] | None, current: dict[str, File | None]
) -> str:
    """Tell pristine, patched and partial apart; `wanted` is None where only hashes are known."""

    def patched(path: str) -> bool:
        found, entry = current[path], entries[path]
        if wanted is None:
            return found is not None and entry.ours[-1:] == (found.sha256,)
        return same(found, wanted.get(path, entry.original))

    if entries and all(patched(path) for path in entries):
        return "patched"
    if all(same(current[path], entry.original) for path, entry in entries.items()):
        return "pristine"
    return "partial"

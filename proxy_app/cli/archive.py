"""A backup's file: a compressed tar with a manifest, the database's rows, and small files.

`manifest.json` comes first, `{"format": 1, "version", "schema", "made_at"}`, then `database.jsonl`
(a line is `["table", {row}]`) and what lay in the state folder and among the registrations.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from proxy_app.cli.errors import CommandError
from proxy_app.store.copies import Row

FORMAT = 1
FOLDERS = ("access", "hosts", "secrets", "services.d")
"""Of the state folder: the password, the page's hosts and its key, secrets, registrations."""
MANIFEST, DATABASE = "manifest.json", "database.jsonl"
MOST_BYTES = 1024 * 1024
"""Of one file."""
_MOST_BYTES_OF_ALL = 2 * 1024**3
_MOST_FILES = 10_000
_FILE = re.compile(
    rf"(state/({'|'.join(map(re.escape, FOLDERS))})|registrations)/"
    r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,99}"
)
_DAMAGE = (
    tarfile.TarError, zlib.error, EOFError, OSError, ValueError, KeyError, TypeError,
    RecursionError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A backup that was found good, lying in a folder."""

    folder: Path
    schema: str | None
    made_at: str

    def rows(self) -> Iterator[Row]:
        """The database's rows."""
        with (self.folder / DATABASE).open(encoding="utf-8") as lines:
            for line in lines:
                table, row = json.loads(line)
                yield table, row


def add(archive: tarfile.TarFile, name: str, content: bytes | IO[bytes], mode: int = 0o600) -> None:
    """Put a file into an archive."""
    info = tarfile.TarInfo(name)
    info.mode = mode
    if isinstance(content, bytes):
        content = io.BytesIO(content)
    info.size = content.seek(0, io.SEEK_END)
    content.seek(0)
    archive.addfile(info, content)


def can_hold(name: str) -> bool:
    """Whether a file of that name may be in a backup."""
    return _FILE.fullmatch(name) is not None


def unpack(file: Path, folder: Path) -> Unpacked:
    """Lay a backup's files into an empty folder, and see that all of them are what they should be.

    A name that a backup does not have, a link or a folder is refused, so that nothing is written
    anywhere else; and so is what unpacks to more than a backup ever has.

    Raises:
        CommandError: it is no backup, or a damaged one.
    """
    try:
        with file.open("rb") as archive:
            return _unpack(archive, folder)
    except FileNotFoundError:
        raise CommandError(f"{file}: there is no such file") from None
    except _DAMAGE as error:
        raise CommandError(
            f"{file} is no backup of Spark Speech, or a damaged one: {error}"
        ) from None


class _Header(tarfile.TarInfo):
    """Of a plain file, which is all that we write: the others' contents are read unbounded."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """The header in a block; raises ValueError for one that a backup never has."""
        header = super().frombuf(buf, encoding, errors)
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or header.size < 0:
            raise ValueError(f"{header.name[:100]!r} has no place in one")
        return header


def _unpack(file: IO[bytes], folder: Path) -> Unpacked:
    names: set[str] = set()
    left = _MOST_BYTES_OF_ALL
    with tarfile.open(fileobj=file, mode="r|gz", tarinfo=_Header) as archive:
        for member in archive:
            left -= member.size
            _refuse_odd(member, names, left)
            names.add(member.name)
            target = folder / member.name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            content = archive.extractfile(member)
            assert content is not None, member.name
            with target.open("xb") as out:
                target.chmod(0o600)
                while data := content.read(MOST_BYTES):
                    out.write(data)
    if missing := {MANIFEST, DATABASE} - names:
        raise ValueError(f"it has no {min(missing)}")
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    if manifest["format"] != FORMAT:
        raise ValueError(f"its format is {manifest['format']!r}, and this version knows {FORMAT}")
    if not isinstance(manifest["schema"], str | None):
        raise TypeError(f"its schema is {manifest['schema']!r}")
    found = Unpacked(folder, manifest["schema"], str(manifest["made_at"]))
    if not all(isinstance(table, str) and isinstance(row, dict) for table, row in found.rows()):
        raise ValueError("its rows are none")
    return found


def _refuse_odd(member: tarfile.TarInfo, names: set[str], left: int) -> None:
    is_ours = member.name in (MANIFEST, DATABASE) or can_hold(member.name)
    if not is_ours or member.name in names:
        raise ValueError(f"{member.name[:100]!r} has no place in one")
    too_large = member.size > MOST_BYTES and member.name != DATABASE
    if too_large or left < 0 or len(names) >= _MOST_FILES:
        raise ValueError(f"{member.name[:100]!r} is more than one ever has")

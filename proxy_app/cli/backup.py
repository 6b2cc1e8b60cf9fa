"""`control backup` and `control restore`: what a new machine needs to go on as this one.

In a backup are the database but for sessions, the password's hash, the hosts that were added on the
page with its SSH key, secrets, and the registrations of services. The logs of jobs are not.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from proxy_app import __version__
from proxy_app.cli.archive import (
    DATABASE,
    FOLDERS,
    FORMAT,
    MANIFEST,
    MOST_BYTES,
    Unpacked,
    add,
    can_hold,
    unpack,
)
from proxy_app.cli.errors import CommandError
from proxy_app.cli.rows import settled
from proxy_app.config import Config
from proxy_app.jobs.folders import JobFolder
from proxy_app.store import Store, copies
from proxy_app.store.engine import HEAD
from proxy_app.store.migrations import versions

_LEFT_OUT = frozenset({"claim", "form-key"})
"""Of this machine alone: the link that nobody has used yet, and a key that is made anew."""


def backup(config: Config, file: Path) -> None:
    """Write a backup, for this user alone.

    Raises:
        CommandError: it cannot be made, or there is a file of that name.
    """
    if file.exists():
        raise CommandError(f"{file} exists: name another file")
    store = Store(config.database_url, config.state_dir)
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".backup-") as new:
            with tarfile.open(fileobj=new, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
                _add_database(archive, store)
                for name, path in _files(config):
                    with contextlib.suppress(FileNotFoundError):  # it was just removed
                        add(archive, name, path.read_bytes())
            new.flush()
            os.fsync(new.fileno())
            os.link(new.name, file)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror or error}") from None
    except SQLAlchemyError as error:
        raise CommandError(f"the database cannot be read: {_why(error)}") from None
    finally:
        store.close()


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it."""

    before: Path | None
    """The backup that was made of what was here; None where there was nothing."""
    broken: Path | None
    """Where the database lies that was here, if it was broken."""
    has_registrations: bool
    """Whether the services' registrations are back; where they cannot be written they are not."""


def restore(config: Config, file: Path) -> Restored:
    """Put what a backup has in the place of what is here.

    Raises:
        CommandError: it is no good backup, one of a newer version, or something is running.
    """
    with _alone(config), tempfile.TemporaryDirectory(dir=config.state_dir) as folder:
        found = unpack(file, Path(folder))
        if found.schema not in {None, *versions()}:
            raise CommandError(
                f"{file} is of a newer version (schema {found.schema}), and this one knows {HEAD}"
                " at most: restore it with that version"
                if str(found.schema) > HEAD
                else f"{file} is no backup of Spark Speech: it has never had schema {found.schema}"
            )
        store = Store(config.database_url, config.state_dir)
        with _broken_aside(store) as broken:
            before = _keep(config, store)
            _put_rows(store, found)
        _put_folders(config, found)
        return Restored(before, broken, _put_registrations(config, found))


@contextlib.contextmanager
def _broken_aside(store: Store) -> Iterator[Path | None]:
    """Rename a file of SQLite that is none, or not any more: back, if nothing takes its place."""
    try:
        file = store.file if store.is_broken() else None
    except SQLAlchemyError as error:
        raise CommandError(f"the database does not answer: {_why(error)}") from None
    finally:
        store.close()  # what is renamed would stay open
    moved: dict[Path, Path] = {}
    if file is not None:
        ending = f"broken-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
        for suffix in ("", "-wal", "-shm"):
            part = file.with_name(file.name + suffix)
            if part.exists():
                moved[part] = part.rename(file.with_name(f"{file.name}.{ending}{suffix}"))
    try:
        yield file and moved[file]
    except BaseException:
        store.close()
        for part, aside in moved.items():
            aside.replace(part)
        raise
    finally:
        store.close()


def _put_rows(store: Store, found: Unpacked) -> None:
    try:
        copies.replace(store.engine, found.schema, map(settled, found.rows()))
    except SQLAlchemyError as error:
        raise CommandError(
            f"its rows cannot be put into the database, which is as it was: {_why(error)}"
        ) from None
    except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise CommandError(
            f"it has rows that no version has written ({error}); the database is as it was"
        ) from None


def _why(error: SQLAlchemyError) -> str:
    """What is wrong, without what was sent."""
    cause = getattr(error, "orig", None) or type(error).__name__
    return str(cause).partition("\n")[0]


def _add_database(archive: tarfile.TarFile, store: Store) -> None:
    with tempfile.TemporaryFile() as lines:
        with store.snapshot() as connection:
            schema = copies.version_of(connection)
            for row in copies.rows(connection):
                lines.write(json.dumps(row).encode() + b"\n")
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        manifest: dict[str, Any] = {"format": FORMAT, "version": __version__}
        manifest |= {"schema": schema, "made_at": made_at}
        add(archive, MANIFEST, json.dumps(manifest).encode())
        add(archive, DATABASE, lines)


def _files(config: Config) -> Iterator[tuple[str, Path]]:
    """The files that a backup has, and what they are called there."""
    places = [(f"state/{name}", config.state_dir / name) for name in FOLDERS]
    for place, folder in (*places, ("registrations", config.services_dir)):
        for path in sorted(folder.glob("*")):
            name = f"{place}/{path.name}"
            is_one = path.is_file() and path.name not in _LEFT_OUT and path.suffix != ".new"
            if is_one and can_hold(name) and path.stat().st_size <= MOST_BYTES:
                yield name, path


def _keep(config: Config, store: Store) -> Path | None:
    try:
        with store.snapshot() as connection:
            is_empty = copies.version_of(connection) is None
    except SQLAlchemyError as error:
        raise CommandError(f"the database cannot be read: {_why(error)}") from None
    if is_empty and not any(_files(config)):
        return None
    folder = config.state_dir / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    kept = folder / f"before-restore-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.tar.gz"
    backup(config, kept)
    return kept


def _put_folders(config: Config, found: Unpacked) -> None:
    for name in FOLDERS:
        new, there = found.folder / "state" / name, config.state_dir / name
        if there.exists():
            there.rename(found.folder / f"{name}.before")  # it goes with the folder
        if new.exists():
            new.rename(there)


def _put_registrations(config: Config, found: Unpacked) -> bool:
    try:
        for path in sorted((found.folder / "registrations").glob("*")):
            config.services_dir.mkdir(parents=True, exist_ok=True)
            new = config.services_dir / f".{path.name}.new"
            shutil.copyfile(path, new)
            new.chmod(0o640)
            new.rename(config.services_dir / path.name)
        for name, path in list(_files(config)):
            is_registration = name.startswith("registrations/") and path.suffix == ".json"
            if is_registration and not (found.folder / name).exists():
                path.unlink()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _alone(config: Config) -> Iterator[None]:
    """Keep the dispatcher from starting, which is running where anything is."""
    running = CommandError("the gateway or a job is running: stop it first (`make down`)")
    with (config.state_dir / "dispatcher.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise running from None
        if any(JobFolder(path).is_at_work() for path in (config.state_dir / "jobs").glob("*/")):
            raise running
        yield

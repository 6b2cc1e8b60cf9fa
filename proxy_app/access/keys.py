"""API keys: several, with names, of which the database has hashes, and what each may do at most.

A key is `sk-spark-ID-SECRET`. The secret has 256 random bits, so that one round of SHA-256 hides it
as well as many: nobody can try them all, which passwords need scrypt for.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import math
import os
import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from proxy_app.store import ApiKey, Store

log = logging.getLogger(__name__)

PREFIX = "sk-spark-"
LONGEST_NAME = 64
MOST = 1000
MOST_IN_FLIGHT, MOST_PER_MINUTE = 256, 1_000_000
_KEPT_S = 1.0
"""How long a worker goes by what it has read: so long a revoked key may still open."""
_SOON_S = 0.05
"""The same where a key is not known: it may be new. Guesses cost so many readings at most."""
_NOTED_EVERY_S = 3600.0
_MINUTE_S = 60.0
_NUMBER = struct.Struct("d")


class BadKeyError(Exception):
    """A key cannot be made or found; the message says why."""


class RateError(Exception):
    """A key was used too often; `wait_s` says how long to wait."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key."""

    id: str
    name: str
    hash: str
    created_at: float
    used_at: float | None
    """When it was used last, to the hour."""
    max_in_flight: int | None
    """Requests at the same time; None without a limit."""
    per_minute: int | None


class Keys:
    """The keys of one gateway.

    Args:
        store: the database.
        clock: wall time, in seconds since 1970.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, Key] = {}
        self._read_at = -math.inf

    def make(
        self, name: str, *, max_in_flight: int | None = None, per_minute: int | None = None
    ) -> tuple[str, Key]:
        """Make a key; gives it, which nobody can do again.

        Raises:
            BadKeyError: the name is taken or no name, a limit is none, or there are too many.
        """
        _refuse(name, max_in_flight, per_minute)
        key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        row = ApiKey(
            id=key_id,
            name=name,
            hash=_hash(secret),
            created_at=self._clock(),
            used_at=None,
            max_in_flight=max_in_flight,
            per_minute=per_minute,
        )
        if len(self.all()) >= MOST:
            raise BadKeyError(f"there are {MOST} keys already: revoke some")
        try:
            with self._store.session() as session:
                session.add(row)
        except IntegrityError:
            raise BadKeyError(f"there is a key named {name!r} already") from None
        self._read_at = -math.inf
        return f"{PREFIX}{key_id}-{secret}", _key(row)

    def all(self) -> list[Key]:
        """All keys, by name."""
        with self._store.session() as session:
            return [_key(row) for row in session.scalars(select(ApiKey).order_by(ApiKey.name))]

    def revoke(self, id_or_name: str) -> bool:
        """Have a key open nothing any more; False where there is none."""
        chosen = (ApiKey.id == id_or_name) | (ApiKey.name == id_or_name)
        with self._store.session() as session:
            found = session.scalars(select(ApiKey.id).where(chosen)).all()
            session.execute(delete(ApiKey).where(ApiKey.id.in_(found)))
        self._read_at = -math.inf
        return bool(found)

    def find(self, sent: str) -> Key | None:
        """The key that was sent, where it is one."""
        key_id, _, secret = sent.removeprefix(PREFIX).partition("-")
        # One that was made a moment ago by another process is looked for once more.
        known = self._read(_KEPT_S).get(key_id) or self._read(_SOON_S).get(key_id)
        # Compared also where there is none, so that the time tells nothing.
        expected = known.hash if known else _hash("")
        is_right = hmac.compare_digest(_hash(secret), expected)
        if known is None or not is_right or not sent.startswith(PREFIX):
            return None
        self._note(known)
        return known

    def _read(self, kept_s: float) -> dict[str, Key]:
        """All keys, so old at most; what was read last where the database does not answer."""
        now = time.monotonic()
        if now - self._read_at >= kept_s:
            try:
                self._known = {key.id: key for key in self.all()}
            except SQLAlchemyError as error:
                if not self._known:
                    raise
                log.warning("the keys cannot be read: %s", type(error).__name__)
            self._read_at = now
        return self._known

    def _note(self, key: Key) -> None:
        now = self._clock()
        if key.used_at is not None and 0 <= now - key.used_at < _NOTED_EVERY_S:
            return
        try:
            with self._store.session() as session:
                session.execute(update(ApiKey).where(ApiKey.id == key.id).values(used_at=now))
        except SQLAlchemyError as error:
            log.warning("the use of a key cannot be noted: %s", type(error).__name__)
        self._read_at = -math.inf


class Rates:
    """How often each key is used, over all workers: a file of eight bytes for each.

    It is the generic cell rate algorithm (ITU-T I.371): the file has the time at which all that was
    used is paid for, at a price of a minute's part each. More than a minute is not lent.

    Args:
        folder: made, if it is missing.
        clock: seconds since this machine has started, the same for all processes.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._clock = clock

    def take(self, key: Key) -> None:
        """Count a request.

        Raises:
            RateError: it is one too many, and is not counted.
        """
        if key.per_minute is None:
            return
        file = os.open(self._folder / key.id, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            now, price = self._clock(), _MINUTE_S / key.per_minute
            data = os.pread(file, _NUMBER.size, 0)
            paid = _NUMBER.unpack(data)[0] if len(data) == _NUMBER.size else now
            if not now <= paid <= now + _MINUTE_S:
                paid = now  # long ago, or of another start of the machine
            wait_s = paid + price - (now + _MINUTE_S)
            if wait_s > 0:
                raise RateError(f"The key {key.name} has {key.per_minute} requests a minute.",
                                wait_s)  # fmt: skip
            os.pwrite(file, _NUMBER.pack(paid + price), 0)
        finally:
            os.close(file)


def _refuse(name: str, max_in_flight: int | None, per_minute: int | None) -> None:
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip()):
        raise BadKeyError(f"a name has 1 to {LONGEST_NAME} printable characters")
    for what, value, most in (
        ("max_in_flight", max_in_flight, MOST_IN_FLIGHT),
        ("per_minute", per_minute, MOST_PER_MINUTE),
    ):
        if value is not None and not 1 <= value <= most:
            raise BadKeyError(f"{what}: expected 1 to {most}")


def _key(row: ApiKey) -> Key:
    return Key(
        row.id, row.name, row.hash, row.created_at, row.used_at, row.max_in_flight, row.per_minute
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()

"""Sessions that the password has opened, and how often it may be tried: in the database."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from collections.abc import Callable

from sqlalchemy import and_, delete, func, or_, select, update

from proxy_app.store import LoginSession, LoginTry, Store

LONGEST_S = 30 * 86_400.0
"""A session's life, however much it is used."""
IDLE_S = 7 * 86_400.0
"""A session that nobody uses ends after this."""
_NOTED_EVERY_S = 3600.0
WINDOW_S = 300.0
TRIES = 10
"""Of one address in WINDOW_S."""
TRIES_OF_ALL = 100
"""Of all addresses together: who has many tries no more than this."""

Clock = Callable[[], float]


class TooManyTriesError(Exception):
    """The password was tried too often; `wait_s` says how long to wait."""

    def __init__(self, wait_s: float) -> None:
        super().__init__("too many tries")
        self.wait_s = wait_s


class Sessions:
    """Who is logged in. The database has hashes of the tokens, which are in cookies alone."""

    def __init__(self, store: Store, clock: Clock = time.time) -> None:
        self._store = store
        self._clock = clock

    def open(self, password: str) -> str:
        """Begin a session; gives its token.

        Args:
            password: the fingerprint of the one that was right.
        """
        token = secrets.token_urlsafe(32)
        now = self._clock()
        over = or_(LoginSession.created_at < now - LONGEST_S, LoginSession.seen_at < now - IDLE_S)
        with self._store.session() as session:
            session.execute(delete(LoginSession).where(over))
            session.add(
                LoginSession(token=_hash(token), password=password, created_at=now, seen_at=now)
            )
        return token

    def is_open(self, token: str, password: str) -> bool:
        """Whether a token is that of a session, opened by the password that is in force."""
        now = self._clock()
        of_token = and_(LoginSession.token == _hash(token), LoginSession.password == password)
        with self._store.session() as session:
            found = session.scalar(select(LoginSession).where(of_token))
        if found is None or found.created_at < now - LONGEST_S or found.seen_at < now - IDLE_S:
            return False
        if found.seen_at < now - _NOTED_EVERY_S:
            with self._store.session() as session:
                session.execute(update(LoginSession).where(of_token).values(seen_at=now))
        return True

    def close(self, token: str) -> None:
        """End a session."""
        with self._store.session() as session:
            session.execute(delete(LoginSession).where(LoginSession.token == _hash(token)))


class Throttle:
    """How often the password may be tried. A try counts before it is known to be wrong."""

    def __init__(self, store: Store, clock: Clock = time.time) -> None:
        self._store = store
        self._clock = clock

    def admit(self, address: str) -> None:
        """Take note of a try.

        Raises:
            TooManyTriesError: it is one too many, and the password is not to be looked at.
        """
        now = self._clock()
        place = _place(address)
        with self._store.session() as session:
            # Also those of a clock that went ahead: they would count until it is that late.
            gone = ~LoginTry.at.between(now - WINDOW_S, now)
            session.execute(delete(LoginTry).where(gone))
            tries = session.scalars(select(LoginTry.address)).all()
            of_place, of_all = tries.count(place), len(tries)
            if of_place < TRIES and of_all < TRIES_OF_ALL:
                session.add(LoginTry(address=place, at=now))
                return
            chosen = (LoginTry.address == place,) if of_place >= TRIES else ()
            oldest = session.scalar(select(func.min(LoginTry.at)).where(*chosen)) or now
        raise TooManyTriesError(max(1.0, oldest + WINDOW_S - now))

    def forgive(self, address: str) -> None:
        """The password was right: what was tried before from there counts no more."""
        with self._store.session() as session:
            session.execute(delete(LoginTry).where(LoginTry.address == _place(address)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _place(address: str) -> str:
    """An address, or the network of an IPv6 one, as any of its addresses is to be had."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:45]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found), 64), strict=False))
    return str(found)

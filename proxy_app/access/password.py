"""The password of the page, and the claim by which it is set the first time.

Both are files of the state folder, for this user alone: a password is asked for also where the
database is away, and who has forgotten it removes the file. The password's is a hash (scrypt), and
a claim's is the token of the link that is printed, until somebody has used it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

from gevent.lock import BoundedSemaphore

_CHILD = Path(__file__).with_name("scrypt.py")
_SHORTEST, _LONGEST = 10, 200
_FEWEST_CHARACTERS = 5
_HASH = re.compile(r"scrypt:\d{1,9}:\d{1,3}:\d{1,3}\$([0-9a-f]{2})+\$([0-9a-f]{2})+")
_AT_ONCE = 2
_MOST_WRONG = 1000
_WITHIN_S = 60.0


class PasswordError(Exception):
    """This is no password; the message says why."""


class UnclaimedError(Exception):
    """The claim's link is none, or it has been used."""


class BusyError(Exception):
    """Too many passwords are being checked."""


class BrokenError(Exception):
    """The password's file holds none: nobody gets in until somebody has mended it."""

    def __init__(self) -> None:
        super().__init__(
            "The password's file is broken: restore access/password of SPEECH_STATE_DIR from a"
            " backup, or set SPEECH_ADMIN_PASSWORD_FILE, or remove the file and set a password by"
            " the link that `python -m proxy_app control claim` prints. Then start again."
        )


def refuse_weak(password: str) -> None:
    """See that something can be a password.

    Raises:
        PasswordError: it is too short, too long or too plain.
    """
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise PasswordError(f"expected {_SHORTEST} to {_LONGEST} characters")
    if not password.isprintable():
        raise PasswordError("expected one line of characters that can be typed")
    if len(set(password)) < _FEWEST_CHARACTERS:
        raise PasswordError(f"expected {_FEWEST_CHARACTERS} different characters at least")


class Password:
    """The password of one gateway.

    Args:
        folder: where its files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "password"
        self._claim = folder / "claim"
        self._slots = BoundedSemaphore(_AT_ONCE)
        self._memory_key = secrets.token_bytes(32)
        self._known: tuple[str, bytes] | None = None
        """The hash, and what the password that was right looked like: programs send it always."""
        self._wrong: dict[tuple[str, bytes], None] = {}
        """The same of those that were wrong: they are sent always as well."""

    @property
    def fingerprint(self) -> str | None:
        """Tells this password from the next one; None where there is none.

        Raises:
            BrokenError: it cannot be told.
        """
        stored = self._stored()
        return None if stored is None else hashlib.sha256(stored.encode()).hexdigest()

    @property
    def claim_token(self) -> str | None:
        """The token of the link that sets the password, while nobody has used it."""
        return None if self._file.exists() else _text(self._claim) or None

    def remembers(self, password: str) -> bool:
        """Whether this was the right one a moment ago, and still is."""
        known = self._known
        return (
            known is not None
            and known[0] == self._stored()
            and hmac.compare_digest(known[1], self._seen(password))
        )

    def cannot_be(self, password: str) -> bool:
        """Whether this is wrong for sure: it could never be set, or was wrong a while ago."""
        try:
            refuse_weak(password)
        except PasswordError:
            return True
        return (self._stored() or "", self._seen(password)) in self._wrong

    def check(self, password: str) -> bool:
        """Whether this is the password. It takes a third of a second, in a process of its own.

        Raises:
            BusyError: others are being checked.
            BrokenError: there is nothing to compare it with.
        """
        stored = self._stored()
        if not stored or len(password) > _LONGEST:
            return False
        is_right = hmac.compare_digest(self._hash(password, stored), stored)
        if is_right:
            self._known = (stored, self._seen(password))
        else:
            self._wrong[stored, self._seen(password)] = None
            if len(self._wrong) > _MOST_WRONG:
                del self._wrong[next(iter(self._wrong))]
        return is_right

    def put(self, password: str) -> None:
        """Set the password; sessions that another one has opened end.

        Raises:
            PasswordError: it cannot be one.
        """
        refuse_weak(password)
        self._written(self._hash(password, None)).rename(self._file)
        self._claim.unlink(missing_ok=True)

    def make_claim(self) -> str | None:
        """The token of the link that sets the password; None where there is one."""
        if self.fingerprint is None and not self.claim_token:
            self._written(secrets.token_urlsafe(32)).rename(self._claim)
        return self.claim_token

    def claim(self, token: str, password: str) -> None:
        """Set the first password. Of two who try, one does.

        Raises:
            UnclaimedError: the token is not the one, or was used.
            PasswordError: it cannot be one.
        """
        pending = self.claim_token
        if not pending or not hmac.compare_digest(pending.encode(), token.encode()):
            raise UnclaimedError
        refuse_weak(password)
        new = self._written(self._hash(password, None))
        try:
            os.link(new, self._file)
        except FileExistsError:
            raise UnclaimedError from None
        finally:
            new.unlink()
        self._claim.unlink(missing_ok=True)

    def _stored(self) -> str | None:
        found = _text(self._file)
        if found is not None and not _HASH.fullmatch(found):
            raise BrokenError
        return found

    def _seen(self, password: str) -> bytes:
        return hmac.digest(self._memory_key, password.encode(errors="replace"), "sha256")

    def _written(self, text: str) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._folder / f"{secrets.token_hex(8)}.new"
        with open(new, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(text)
        return new

    def _hash(self, password: str, like: str | None) -> str:
        if not self._slots.acquire(timeout=_WITHIN_S):
            raise BusyError
        try:
            done = subprocess.run(  # noqa: S603 - no shell, our own script
                [sys.executable, "-IS", str(_CHILD)],
                input=json.dumps({"password": password, "hash": like}),
                capture_output=True, text=True, timeout=_WITHIN_S, check=True, env={},
            )  # fmt: skip
        except subprocess.CalledProcessError:
            if like is not None:  # it asks for more than is ever given
                raise BrokenError from None
            raise RuntimeError("the hashing of a password failed") from None
        except subprocess.SubprocessError as error:
            # Its input is the password: nothing of it may get into a log.
            raise RuntimeError(f"the hashing of a password: {type(error).__name__}") from None
        finally:
            self._slots.release()
        answer: str = json.loads(done.stdout)["hash"]
        return answer


def _text(path: Path) -> str | None:
    """What a file has; no text is as good as an empty one."""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""

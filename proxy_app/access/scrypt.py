"""The process that hashes one password: `python -IS scrypt.py`, standard library only.

It reads {"password", "hash"} from its standard input, which no other user can look at, and prints
{"hash"}: a new one where `hash` is null, else that of this password with the salt and the cost of
the given one, for the caller to compare. A hash is `scrypt:N:r:p$SALT$HASH` in hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import json
import resource
import secrets
import sys

# OWASP's password storage cheat sheet: as strong as N=2^17, p=1 and with a quarter of its memory.
COST = (2**15, 8, 3)
_MEMORY = 64 * 1024**2
_ADDRESS_SPACE = 256 * 1024**2
_CPU_S = 10


def hashed(password: str, like: str | None) -> str:
    """The hash of a password, with a new salt or as another hash has it."""
    if like is None:
        cost, salt = COST, secrets.token_hex(16)
    else:
        head, salt, _digest = like.split("$")
        n, r, p = map(int, head.split(":")[1:])
        cost = (n, r, p)
    n, r, p = cost
    digest = hashlib.scrypt(
        password.encode(), salt=bytes.fromhex(salt), n=n, r=r, p=p, maxmem=_MEMORY
    )
    return f"scrypt:{n}:{r}:{p}${salt}${digest.hex()}"


def main() -> None:
    """Obey the order on the standard input."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    order = json.load(sys.stdin)
    print(json.dumps({"hash": hashed(order["password"], order["hash"])}))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()

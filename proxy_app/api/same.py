"""Which requests are the same: those of one client that ask for the same, by their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import cast

from flask import request

from proxy_app.api.fields import sent
from proxy_app.api.guard import api_key
from proxy_app.api.relay import LOOK_AGAIN
from proxy_app.api.uploads import SpoolingRequest
from proxy_app.errors import BadRequestError
from proxy_app.running import Ticket
from proxy_app.running.running import MOST_DESERTED

HEADER = "Idempotency-Key"
_LONGEST = 255


def ticket() -> Ticket:
    """The name of the work that this request asks for.

    It is that of all requests with the same Idempotency-Key or, where none is sent, of all that
    have the same address, fields and files. Two clients' are never the same.

    Raises:
        BadRequestError: the Idempotency-Key is too long.
    """
    key = api_key()
    client = f"key {key.id}" if key else ""
    content = content_hash()
    named = request.headers.get(HEADER, "").strip()
    if len(named) > _LONGEST:
        raise BadRequestError(
            f"The {HEADER} has {len(named)} characters; at most {_LONGEST} are accepted.",
            param=HEADER,
        )
    name = _hash([client, HEADER, named] if named else [client, content])
    most = (key and key.max_in_flight) or MOST_DESERTED
    # One whose key was revoked meanwhile cannot come back.
    look: Callable[[], Exception | None] = request.environ.get(LOOK_AGAIN, lambda: None)
    return Ticket(name, content, client, min(most, MOST_DESERTED), lambda: look() is None)


def content_hash() -> str:
    """Of everything that decides what is done; a file's name does not, nor what it says to be."""
    rule = request.url_rule
    address = rule.rule if rule else request.path
    texts = sorted(_texts(), key=_name)
    recordings = sorted(cast(SpoolingRequest, request).digests, key=_name)
    return _hash([address, texts, recordings])


def _texts() -> list[tuple[str, str]]:
    return [*request.args.items(multi=True), *sent().items(multi=True)]


def _name(pair: Sequence[str]) -> str:
    return pair[0]


def _hash(what: object) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()

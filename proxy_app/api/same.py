"""Which requests are the same: those of one client that ask for the same, by their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import cast

from flask import request

from proxy_app.api.fields import sent
from proxy_app.api.guard import api_key
from proxy_app.api.uploads import SpoolingRequest
from proxy_app.errors import BadRequestError
from proxy_app.gateway import current
from proxy_app.running import Ticket
from proxy_app.running.running import MOST_DESERTED

HEADER = "Idempotency-Key"
_LONGEST = 255


def announce() -> None:
    """Say that a recording is about to be read, which may be one that is worked on already.

    Its client hung up, perhaps, and is sending it again; that it is the same is known only when
    all of it is there.

    Raises:
        BadRequestError: the Idempotency-Key is too long.
    """
    cast(SpoolingRequest, request).arrived = current().running.arriving(_upload(_client()))


def ticket() -> Ticket:
    """The name of the work that this request asks for.

    It is that of all requests with the same Idempotency-Key or, where none is sent, of all that
    have the same address, fields and files. Two clients' are never the same.

    Raises:
        BadRequestError: the Idempotency-Key is too long.
    """
    key, client = api_key(), _client()
    content, named = content_hash(), _named()
    name = _hash([client, HEADER, named] if named else [client, content])
    most = (key and key.max_in_flight) or MOST_DESERTED
    return Ticket(name, content, client, min(most, MOST_DESERTED), _upload(client))


def content_hash() -> str:
    """Of everything that decides what is done; a file's name does not, nor what it says to be."""
    texts = sorted(_texts(), key=_name)
    recordings = sorted(cast(SpoolingRequest, request).digests, key=_name)
    return _hash([_address(), texts, recordings])


def _client() -> str:
    key = api_key()
    return f"key {key.id}" if key else ""


def _named() -> str:
    named = request.headers.get(HEADER, "").strip()
    if len(named) > _LONGEST:
        raise BadRequestError(
            f"The {HEADER} has {len(named)} characters; at most {_LONGEST} are accepted.",
            param=HEADER,
        )
    return named


def _upload(client: str) -> str:
    """What the same upload has again: its length, unless it is named.

    An SDK makes a new boundary for its form when it tries again, but one of the same length.
    """
    if named := _named():
        return _hash([client, HEADER, named])
    length = request.content_length
    return "" if length is None else _hash([client, _address(), length])


def _address() -> str:
    rule = request.url_rule
    return rule.rule if rule else request.path


def _texts() -> list[tuple[str, str]]:
    return [*request.args.items(multi=True), *sent().items(multi=True)]


def _name(pair: Sequence[str]) -> str:
    return pair[0]


def _hash(what: object) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()

"""/api/keys: the keys of programs, each shown once, when it is made."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from proxy_app.access import BadKeyError
from proxy_app.access.keys import Key
from proxy_app.api import jobs as jobs_api
from proxy_app.errors import ApiError, BadRequestError
from proxy_app.gateway import current

MAKE: dict[str, type] = {"name": str, "max_in_flight": int, "per_minute": int}
OPTIONAL = ("max_in_flight", "per_minute")

bp = Blueprint("keys", __name__, url_prefix="/api/keys")


@bp.get("")
def list_keys() -> Response:
    """All keys, without what makes them keys."""
    return jsonify({"keys": [shown(key) for key in current().keys.all()]})


@bp.post("")
def make() -> Response:
    """Make one. `key` in the answer is what clients send; it is not told again."""
    given = jobs_api.body(MAKE)
    if "name" not in given:
        raise BadRequestError("`name` is missing.", param="name")
    try:
        secret, key = current().keys.make(**given)
    except BadKeyError as error:
        raise BadRequestError(f"{error}.") from None
    response = jsonify({**shown(key), "key": secret})
    response.status_code = 201
    return response


@bp.delete("/<key_id>")
def revoke(key_id: str) -> tuple[str, int]:
    """Have a key open nothing any more."""
    if not current().keys.revoke(key_id):
        raise ApiError("There is no such key.", status=404, code="not_found")
    return "", 204


def shown(key: Key) -> dict[str, Any]:
    """A key for JSON and for the page."""
    return {
        "id": key.id,
        "name": key.name,
        "created_at": jobs_api.time_text(key.created_at),
        "used_at": jobs_api.time_text(key.used_at),
        "max_in_flight": key.max_in_flight,
        "per_minute": key.per_minute,
    }

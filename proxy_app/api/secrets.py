"""/api/secrets: what jobs hand on to services, written here and never read out again."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from proxy_app.api import jobs as jobs_api
from proxy_app.errors import ApiError, BadRequestError
from proxy_app.gateway import current
from proxy_app.jobs.secrets import NAMES

VALUE: dict[str, type] = {"value": str}

bp = Blueprint("secrets", __name__, url_prefix="/api/secrets")


@bp.get("")
def which() -> Response:
    """Which are set, and since when: `{"hf_token": {"set", "at"}, ...}`."""
    return jsonify({name: _shown(name) for name in NAMES})


@bp.put("/<name>")
def put(name: str) -> Response:
    """Keep a secret, instead of the one before."""
    _refuse_unknown(name)
    given = jobs_api.body(VALUE)
    if "value" not in given:
        raise BadRequestError("`value` is missing.", param="value")
    try:
        current().room.secrets.put(name, given["value"].strip())
    except ValueError as error:
        raise BadRequestError(f"{error}.", param="value") from None
    return jsonify(_shown(name))


@bp.delete("/<name>")
def remove(name: str) -> tuple[str, int]:
    """Keep it no longer. Services that were given it have it still."""
    _refuse_unknown(name)
    current().room.secrets.remove(name)
    return "", 204


def _refuse_unknown(name: str) -> None:
    if name not in NAMES:
        raise ApiError("There is no such secret.", status=404, code="not_found")


def _shown(name: str) -> dict[str, Any]:
    at = current().room.secrets.set_at(name)
    return {"set": at is not None, "at": jobs_api.time_text(at)}

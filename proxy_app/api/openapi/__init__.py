"""GET /api/openapi.json: what can be asked, and what is answered, as an OpenAPI 3.1 document."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify

from proxy_app.api.openapi.document import document

bp = Blueprint("openapi", __name__, url_prefix="/api")


@bp.get("/openapi.json")
def openapi() -> Response:
    """This document."""
    return jsonify(document(current_app))

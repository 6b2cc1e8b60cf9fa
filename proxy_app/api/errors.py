"""Errors as clients see them: `{"error": {"message", "type", "param", "code"}}` and headers.

The shape is OpenAI's; `x-should-retry` and `retry-after-ms` are what its SDKs obey.
"""

from __future__ import annotations

import re
from http.client import responses

from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from proxy_app.errors import ApiError
from proxy_app.errors.translations import as_api_error

_HTTP_CODES = {
    404: (
        "not_found",
        "There is nothing at this address. /v1 and /api have their paths in the README.",
    ),
    405: ("method_not_allowed", "This address does not take that method."),
}


_API_PATH = re.compile(r"/(v1|api|metrics|asr)(/|$)")


def is_api(path: str) -> bool:
    """Whether programs call it, and not people."""
    return _API_PATH.match(path) is not None


def init_app(app: Flask) -> None:
    """Answer every error below /v1 and /api, and of the probes, as JSON; others as a page."""
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, lambda error: _respond(as_api_error(error)))


def _respond(error: ApiError) -> Response:
    if _is_page():
        response = _page(error.status, responses.get(error.status, "Error"), error.message)
    else:
        response = jsonify(error=error.body)
        response.status_code = error.status
    response.headers.update(error.headers)
    return response


def _is_page() -> bool:
    """Whether a person would read the answer in a browser."""
    kinds = ["application/json", "text/html"]
    wants_html = request.accept_mimetypes.best_match(kinds) == "text/html"
    return wants_html and not is_api(request.path)


def _page(status: int, name: str, message: str | None) -> Response:
    page = render_template("error.html", status=status, name=name, message=message)
    return Response(page, status=status, mimetype="text/html")


def _of_http(error: HTTPException) -> Response:
    """Flask's and werkzeug's own errors: unknown paths, wrong methods, bodies over the limits."""
    status = error.code or 500
    if not is_api(request.path) and request.method in ("GET", "HEAD"):
        return _page(status, error.name, error.description)
    code, message = _HTTP_CODES.get(
        status, (error.name.lower().replace(" ", "_"), error.description)
    )
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    return _respond(ApiError(message or error.name, status=status, code=code, headers=headers))

"""Which pages of other origins may call what programs call, and read the answers (CORS).

Nothing is ever shared with a browser's cookies: a page brings an API key, as `guard` demands.
"""

from __future__ import annotations

import re

from flask import Flask, request
from flask import Response as FlaskResponse

from proxy_app.api.guard import is_for_keys
from proxy_app.config.origins import ANY

METHODS = "GET, HEAD, POST, DELETE"
_READABLE = ", ".join(
    (
        *("x-request-id", "x-served-by", "x-upstream-state", "x-speech-warnings", "x-voice"),
        *("retry-after", "retry-after-ms", "x-should-retry", "location"),
        *("server-timing", "openai-processing-ms"),
    )
)
_REMEMBERED_S = 600
_NAMES = re.compile(r"[A-Za-z0-9_-]+( ?, ?[A-Za-z0-9_-]+)*")
"""Of headers: OpenAI's SDKs send a dozen of their own, which a browser asks about one by one."""


def init_app(app: Flask, origins: frozenset[str]) -> None:
    """Answer what browsers ask beforehand, and mark answers as readable: before the guard.

    Args:
        app: the application.
        origins: as browsers send them; `ANY` alone for all, none for no sharing at all.
    """
    if not origins:
        return

    def shared_with() -> str | None:
        return ANY if ANY in origins else _listed(request.headers.get("Origin"), origins)

    def answer_preflight() -> FlaskResponse | None:
        asked = "Origin" in request.headers and "Access-Control-Request-Method" in request.headers
        if request.method != "OPTIONS" or not asked or not is_for_keys() or not shared_with():
            return None
        answer = FlaskResponse(status=204)
        answer.headers["Access-Control-Allow-Methods"] = METHODS
        answer.headers["Access-Control-Max-Age"] = str(_REMEMBERED_S)
        wanted = request.headers.get("Access-Control-Request-Headers", "")
        if _NAMES.fullmatch(wanted):
            answer.headers["Access-Control-Allow-Headers"] = wanted
        return answer

    def share(response: FlaskResponse) -> FlaskResponse:
        if not is_for_keys():
            return response
        if ANY not in origins:
            response.vary.add("Origin")
        if origin := shared_with():
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _READABLE
        return response

    app.before_request(answer_preflight)
    app.after_request(share)


def _listed(origin: str | None, origins: frozenset[str]) -> str | None:
    return origin if origin in origins else None

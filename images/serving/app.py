"""The HTTP face of every server: errors of one shape, a key at the door, and GET /health."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from images.serving import errors
from images.serving.errors import ApiError
from proxy_app import __version__

CLIENT_GONE = 499
"""nginx's word for a client that hung up; it is for the log, nobody reads it."""


class HasStatus(Protocol):
    """The body of GET /health."""

    @property
    def status(self) -> str:
        """`ready`, or what else; failed and fatal are answered with 503."""


def make_app(
    title: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    health: Callable[[], HasStatus],
    health_model: type,
    *,
    key: str | None,
    key_setting: str,
) -> FastAPI:
    """An app that answers GET /health and nothing else yet.

    Args:
        title: its name.
        lifespan: what starts and stops with it.
        health: the state of now.
        health_model: what `health` gives.
        key: what every other request needs, if anything.
        key_setting: the name of the setting that the key is from.
    """
    app = FastAPI(
        title=title, version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    errors.install(app)
    if key:
        app.add_middleware(KeyRequired, key=key, setting=key_setting)

    async def answer_health(response: Response) -> Any:  # noqa: ANN401 - a `health_model`
        """503 when failed or fatal, else 200; the same body in every state."""
        found = health()
        if found.status in ("failed", "fatal"):
            response.status_code = 503
        return found

    app.add_api_route(
        "/health",
        answer_health,
        name="health",
        response_model=health_model,
        responses={503: {"model": health_model}},
    )
    return app


class KeyRequired:
    """ASGI middleware: every request but GET /health needs `Authorization: Bearer KEY`."""

    def __init__(self, app: ASGIApp, key: str, setting: str) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()
        self._setting = setting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] == "http" and scope["path"] != "/health":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                message = f"A key is needed ({self._setting}): send `Authorization: Bearer KEY`."
                refusal = errors.answer(ApiError(401, "invalid_api_key", message))
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def hung_up(request: Request) -> None:
    """Returns when the client closes the connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""Errors as OpenAI shapes them: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import logging


from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

log = logging.getLogger(__name__)


class ApiError(Exception):
    """An answer that is no success.

    Args:
        status: the HTTP status.
        code: a word for programs.
        message: a sentence for people that says what to do; it may leave the house.
        param: the request's field that is at fault.
        retry_after_s: when to come back; without it a 503 or 429 says not to retry.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


def answer(error: ApiError) -> JSONResponse:
    """The response for an error; OpenAI's SDKs obey its retry headers."""
    body = {
        "message": error.message,
        "type": "invalid_request_error" if error.status < 500 else "server_error",
        "param": error.param,
        "code": error.code,
    }
    if error.status == 429:
        body["type"] = "rate_limit_error"
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    elif error.status >= 500:
        headers["x-should-retry"] = "false"
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": body}, error.status, headers)


def install(app: FastAPI) -> None:
    """Make every error of the app, the framework's own included, an OpenAI error."""

    @app.exception_handler(ApiError)
    async def _refused(_request: Request, error: ApiError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        known: dict[int, tuple[str, str]] = {
            404: ("not_found", f"There is nothing at {request.url.path}."),
            405: ("method_not_allowed", f"{request.method} is not answered at this address."),
        }
        code, message = known.get(error.status_code, ("http_error", str(error.detail)))
        response = answer(ApiError(error.status_code, code, message))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
        # The traceback goes to the log: Starlette raises the error again after this answer.
        return answer(
            ApiError(500, "internal_error", "The engine failed on this request; its log says why.")
        )



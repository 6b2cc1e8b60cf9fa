"""Errors as OpenAI shapes them: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}


class ApiError(Exception):
    """An answer that is no success.

    Args:
        status: the HTTP status.
        code: a word for programs.
        message: a sentence for people that says what to do. It leaves the house: no paths, no
            text of a library.
        param: the field of the request that is at fault.
        retry_after_s: when to come back, for 429 and 503.
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


UNEXPECTED = ApiError(500, "internal_error", "The server failed on this request; its log says why.")


def body(error: ApiError) -> dict[str, str | None]:
    """The error as an object."""
    kind = _TYPES.get(HTTPStatus(error.status))
    if kind is None:
        kind = (
            "server_error"
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            else "invalid_request_error"
        )
    return {"message": error.message, "type": kind, "param": error.param, "code": error.code}


def answer(error: ApiError) -> JSONResponse:
    """The response that an error makes."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": body(error)}, error.status, headers)


def install(app: FastAPI) -> None:
    """Give every error of the app this shape, the framework's own included."""

    @app.exception_handler(ApiError)
    async def _refused(_request: Request, error: ApiError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        known = {
            404: ("not_found", f"There is nothing at {request.url.path}."),
            405: ("method_not_allowed", f"{request.method} is not answered at this address."),
        }
        code, message = known.get(error.status_code, ("http_error", str(error.detail)))
        response = answer(ApiError(error.status_code, code, message))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
        # Starlette raises the error again after this answer, so that the server logs it.
        return answer(UNEXPECTED)

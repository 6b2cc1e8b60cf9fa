"""Errors as clients are to see them, and what OpenAI's SDKs obey of their headers."""

from __future__ import annotations

from collections.abc import Mapping

# Some versions of openai-node take no Retry-After of exactly 60 s, but obey the milliseconds.
RETRY_IN_A_MINUTE = {"Retry-After": "60", "retry-after-ms": "59000"}
RETRY_SOON = {"Retry-After": "10", "retry-after-ms": "10000"}
DO_NOT_RETRY = {"x-should-retry": "false"}

_TYPES = {429: "rate_limit_error", 503: "service_unavailable_error"}


class ApiError(Exception):
    """An answer that is an error.

    Attributes:
        status: the HTTP status.
        code: a stable word for programs.
        message: for people: what is wrong, and what to do.
        param: the field of the request that is to blame.
        headers: sent with the answer.
        more: what else programs are told.
    """

    status = 500
    code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status or self.status
        self.code = code or self.code
        self.param = param
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    @property
    def type(self) -> str:
        """OpenAI's coarse classes of errors."""
        fallback = "server_error" if self.status >= 500 else "invalid_request_error"  # noqa: PLR2004
        return _TYPES.get(self.status, fallback)

    @property
    def body(self) -> dict[str, str | None]:
        """OpenAI's error object."""
        return {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
            **self.more,
        }


class BadRequestError(ApiError):
    """The request cannot be understood; `param` names the field."""

    status = 400
    code = "invalid_value"


class TooLargeError(ApiError):
    """The request is larger than the limit."""

    status = 413
    code = "request_too_large"


class ClientGoneError(ApiError):
    """The client hung up. Nobody reads this answer; the status is nginx's, for the access log."""

    status = 499
    code = "client_closed_request"

    def __init__(self) -> None:
        super().__init__("The client closed the connection.")

"""Answers of the diarizer that are no success."""

import json

RETRY_S = 30


class Refusal(Exception):  # noqa: N818 - not every refusal is an error of ours
    """An answer that is no success.

    Args:
        status: the HTTP status.
        code: a word for programs.
        message: a sentence for people that says what to do; it leaves the house.
        retry_after_s: when to come back.
    """

    def __init__(
        self, status: int, code: str, message: str, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}

    @property
    def body(self) -> bytes:
        """OpenAI's error object."""
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        fallback = "server_error" if self.status >= 500 else "invalid_request_error"  # noqa: PLR2004
        error = {
            "message": self.message,
            "type": kinds.get(self.status, fallback),
            "param": "file" if self.status in (400, 413, 415) else None,
            "code": self.code,
        }
        return json.dumps({"error": error}).encode()


def unavailable(message: str) -> Refusal:
    """The diarizer cannot serve now, and may later."""
    return Refusal(503, "diarizer_unavailable", message, RETRY_S)


def too_large(max_bytes: int) -> Refusal:
    """An upload over the limit."""
    limit = f"{max_bytes} bytes (SORTFORMER_MAX_BYTES)"
    return Refusal(413, "upload_too_large", f"The upload is larger than {limit}.")


def storage_full() -> Refusal:
    """No room for an upload."""
    message = "The disk is full where uploads are kept (SORTFORMER_DIR)."
    return Refusal(507, "storage_full", message)


class ClientLeftError(Exception):
    """Nobody waits for the answer any more."""

"""LLM servers that speak OpenAI's API: what is sent and what comes back stays as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from urllib3 import BaseHTTPResponse

from proxy_app.services import Service
from proxy_app.upstreams.errors import RejectedError, UpstreamError
from proxy_app.upstreams.http import Client, failure, time_limit
from proxy_app.upstreams.own_key import without_key

_READ_BYTES = 64 * 1024
_BEGINNING_BYTES = 1024 * 1024
"""Of an answer that is no stream so much is awaited: where a service breaks off before, another
one can take over. Most are smaller."""
_HEADERS = frozenset({"content-type", "content-length", "content-encoding", "retry-after",
                      "retry-after-ms", "x-should-retry"})  # fmt: skip
_PREFIXES = ("openai-", "x-ratelimit-")
_MISSING = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_OUR_KEY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_MORE_S = 5.0
"""The socket's own limit comes behind ours, which tells what was waited for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that an LLM server may take."""

    first_byte_s: float
    idle_s: float
    """Between two bytes."""


class Answer:
    """What an LLM server answers, while it comes; to be read in the greenlet that asked.

    Attributes:
        status: the HTTP status.
        headers: those that are the answer's own, and not the connection's; without our key.
        is_stream: whether it is server-sent events.
        is_plain: whether it is, and not compressed, which no server was asked to do.
        beginning: what `begin` has waited for, until it is read.
        is_whole: whether that is all of it.
    """

    def __init__(self, service: Service, response: BaseHTTPResponse, limits: Limits) -> None:
        self._service = service
        self._response = response
        self._limits = limits
        self.beginning = b""
        self.is_whole = False
        self.status = response.status
        self.headers = {
            name: value if name.lower() in _HEADERS else without_key(service, value)
            for name, value in response.headers.items()
            if name.lower() in _HEADERS or name.lower().startswith(_PREFIXES)
        }
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        self.is_stream = kind.strip().lower() == "text/event-stream"
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        self.is_plain = self.is_stream and coding in ("", "identity")

    def begin(self) -> None:
        """Wait for the first byte; of what is no stream, or an error, for the first megabyte."""
        is_read_on = not self.is_stream or self.status >= HTTPStatus.BAD_REQUEST
        self.beginning = self._read()
        whole = bytearray(self.beginning)
        while is_read_on and self.beginning and len(whole) < _BEGINNING_BYTES:
            with self._idle():
                piece = self._read()
            if not piece:
                self.is_whole = True
                break
            whole += piece
        self.beginning = bytes(whole)

    def replace(self, body: bytes) -> None:
        """Be another answer, where all of it is there."""
        self.beginning = body
        lengths = [name for name in self.headers if name.lower() == "content-length"]
        self.headers |= dict.fromkeys(lengths, str(len(body)))

    def read(self) -> bytes:
        """What has come since, at least a byte of it; b"" at the end.

        Raises:
            UnavailableError: the service broke off.
            TimeLimitError: it fell silent.
        """
        if self.beginning:
            piece, self.beginning = self.beginning, b""
            return piece
        with self._idle():
            return self._read()

    def _read(self) -> bytes:
        return self._response.read1(_READ_BYTES, decode_content=False) or b""

    def _idle(self) -> AbstractContextManager[None]:
        return time_limit(self._service, self._limits.idle_s, "sent nothing more for")


class OpenAI:
    """Passes requests on."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @contextmanager
    def post(
        self,
        service: Service,
        path: str,
        body: Path,
        headers: Mapping[str, str],
        limits: Limits,
    ) -> Iterator[Answer]:
        """Send a request; its answer has begun when the block does, and ends with it.

        An answer is also a refusal in OpenAI's words (a 4xx), which the client is to read.

        Args:
            service: which server.
            path: begins with a slash.
            body: the request's, on disk.
            headers: sent with it.
            limits: how long that may take.

        Raises:
            RejectedError: it refused the request in words of its own, or does not serve this path.
            UnavailableError: it failed or broke off, here or in the block.
            MisconfiguredError: it refuses our key, or sends us elsewhere.
            TimeLimitError: no byte came in time.
        """
        with ExitStack() as stack:
            with time_limit(service, limits.first_byte_s, "did not begin to answer within"):
                longest_s = max(limits.first_byte_s, limits.idle_s) + _MORE_S
                response = stack.enter_context(
                    self._client.pass_on(service, path, body, headers, idle_s=longest_s)
                )
                answer = Answer(service, response, limits)
                answer.begin()
            if not HTTPStatus(200) <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                _refuse_unless_openais(service, path, answer)
            yield answer


def _refuse_unless_openais(service: Service, path: str, answer: Answer) -> None:
    """Raise what an error means, but for a refusal that OpenAI's clients can read as it is."""
    told = _json(answer.beginning) if answer.is_whole else {}
    error = told.get("error")
    is_openais = isinstance(error, Mapping) and isinstance(error.get("message"), str)
    is_refusal = 400 <= answer.status < 500 and answer.status not in _OUR_KEY  # noqa: PLR2004
    if not (is_refusal and is_openais):
        raise _meaning(service, path, answer, told)
    _hide_key(service, answer, told)


def _hide_key(service: Service, answer: Answer, told: Mapping[str, Any]) -> None:
    """Take our key out of a refusal, which stays as it is where that cannot be in it.

    Of a member that comes twice the last is what it says: nothing is known of the first.
    """
    try:
        shown = without_key(service, told)
    except RecursionError:
        raise failure(service, answer.status, None, None) from None
    if shown != told or _says_twice(answer.beginning):
        answer.replace(json.dumps(shown).encode())


def _says_twice(body: bytes) -> bool:
    """Whether a name is in an object twice: whoever reads it has the last value alone."""
    is_twice = False

    def look(members: list[tuple[str, object]]) -> None:
        nonlocal is_twice
        is_twice |= len(dict(members)) < len(members)

    json.loads(body, object_pairs_hook=look)
    return is_twice


def _meaning(service: Service, path: str, answer: Answer, told: Mapping[str, Any]) -> UpstreamError:
    if answer.status in _MISSING:
        message = f"{service.title} does not serve {path}."
        return RejectedError(service.name, HTTPStatus.NOT_FOUND, message, code="not_found")
    retry_after = answer.headers.get("Retry-After")
    if "error" not in told and "message" in told:  # as vLLM had it
        told = {"error": told["message"]}
    return failure(service, answer.status, told, retry_after)


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}

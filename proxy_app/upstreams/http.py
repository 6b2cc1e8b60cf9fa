"""What all adapters share: pooled connections, bounded in time and in memory.

urllib3 by itself, without requests on top of it: that would cost as much as all else that a request
for a transcript does.
"""

from __future__ import annotations

import json
import os
import re
import select
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import certifi
import gevent
from gevent import monkey
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Retry, Timeout, connection_from_url
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    NewConnectionError,
    ReadTimeoutError,
)

from proxy_app.services import Service
from proxy_app.upstreams.errors import (
    MisconfiguredError,
    RejectedError,
    TimeLimitError,
    UnavailableError,
    UpstreamError,
)
from proxy_app.upstreams.multipart import Audio, Fields, Files, Multipart
from proxy_app.upstreams.own_key import without_key

CONNECT_S = 5.0
_LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes, of a line where lines come one by one; the words of a day's recording take a tenth."""
_LONGEST_MESSAGE = 1000
"""Characters: enough to list a hundred languages."""
_WORD = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")
"""What a service may call a field or an error."""
_SEND_BYTES = 256 * 1024
_READ_BYTES = 64 * 1024
_MOST_POOLS = 32
_MOST_IDLE = 64
"""Connections to a service that are kept; there may be more at a time."""
_poll = monkey.get_original("select", "poll")
_ONCE = Retry(total=False)
"""Neither tries nor redirects: who asks knows what may be asked again, and of whom."""
_CLIENTS_FAULT = frozenset({400, 408, 409, 413, 415, 422, 429})
"""The statuses that speak of the request. Other 4xx speak of how we called the service."""
_NONE: Mapping[str, str] = {}

Body = Multipart | bytes | IO[bytes]


class Client:
    """Sends requests to services. One for the whole process; greenlets may share it.

    Args:
        headers: more headers of every request.
    """

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self._pool_of = lru_cache(_MOST_POOLS)(_pool)
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "spark-speech",
            **(headers or {}),
        }

    def get(self, service: Service, path: str, *, timeout_s: float) -> tuple[int, Any]:
        """Ask a service something small; return the status and the JSON, None if it is none.

        Raises:
            UnavailableError: no answer, or only half of one.
            TimeLimitError: no complete answer in time.
        """
        with (
            time_limit(service, timeout_s),
            _failures(service),
            # Nobody there is told from nobody who answers: the limit above comes after this.
            self._ask(service, path, Timeout(connect=timeout_s / 2, read=timeout_s)) as response,
        ):
            told = _json(_read(service, response))
            # What a success lists are names of models or voices, which clients send back.
            is_success = 200 <= response.status < 300  # noqa: PLR2004 - HTTP's own numbers
            return response.status, _shown(service, told, lists=not is_success)

    def post_file(
        self,
        service: Service,
        path: str,
        file: Audio,
        fields: Fields,
        *,
        limit_s: float,
        more: Files = (),
        or_subtitles: bool = False,
    ) -> dict[str, Any]:
        """Send a WAV and text fields as multipart, streamed from disk; return the JSON object.

        Args:
            service: which one.
            path: begins with a slash.
            file: the WAV.
            fields: names and values, in order; a name may come more than once.
            limit_s: seconds for the whole exchange, not only between two reads.
            more: WAVs that go before it, in this order.
            or_subtitles: whether SubRip or WebVTT will do, too; it comes as {"text": ...}.

        Raises:
            RejectedError: the service refused the request.
            UnavailableError: it failed, or broke off, or answered something else than JSON.
            MisconfiguredError: it has no such path, or wants another key.
            TimeLimitError: the time is over. The connection is closed, so that it can stop.
        """
        body = Multipart(fields, [*more, ("file", file)])
        with (
            time_limit(service, limit_s),
            _failures(service),
            self._post(service, path, body, body.content_type, limit_s) as response,
        ):
            return _answer(service, response, or_subtitles=or_subtitles)

    @contextmanager
    def stream_file(
        self,
        service: Service,
        path: str,
        file: Audio,
        fields: Fields,
        *,
        limit_s: float,
        more: Files = (),
    ) -> Iterator[Iterator[dict[str, Any]]]:
        """As post_file, but the answer is NDJSON, whose objects are read as they come.

        The files are not needed any more when the block begins. The block and the reading belong to
        one greenlet, in which the time limit ends them.

        Raises:
            UpstreamError: as post_file, here or while the objects are read.
        """
        body = Multipart(fields, [*more, ("file", file)])
        with (
            time_limit(service, limit_s),
            _failures(service),
            self._post(service, path, body, body.content_type, limit_s) as response,
        ):
            _check(service, response)
            yield _lines(service, response)

    def post_fields(self, service: Service, path: str, fields: Fields, *, limit_s: float) -> bytes:
        """Send text fields as multipart; return the answer as it is, which is no JSON.

        Raises:
            UpstreamError: as post_file.
        """
        body = Multipart(fields)
        return self._post_body(service, path, body, body.content_type, limit_s)

    def post_json(
        self, service: Service, path: str, question: Mapping[str, Any], *, limit_s: float
    ) -> bytes:
        """Send a JSON object; return the answer as it is, which is no JSON.

        Raises:
            UpstreamError: as post_file.
        """
        body = json.dumps(question).encode()
        return self._post_body(service, path, body, "application/json", limit_s)

    def _post_body(
        self, service: Service, path: str, body: Multipart | bytes, kind: str, limit_s: float
    ) -> bytes:
        with (
            time_limit(service, limit_s),
            _failures(service),
            self._post(service, path, body, kind, limit_s, Accept="*/*") as response,
        ):
            _check(service, response)
            return _read(service, response)

    @contextmanager
    def pass_on(
        self, service: Service, path: str, body: Path, headers: Mapping[str, str], *, idle_s: float
    ) -> Iterator[BaseHTTPResponse]:
        """Send a file as it is. The answer is read in the block, whatever its status.

        Args:
            service: which one.
            path: begins with a slash.
            body: what is sent; it is not needed any more when the block begins.
            headers: sent with it, beside our key.
            idle_s: seconds without a byte, in either direction.

        Raises:
            UnavailableError: the service cannot be reached or breaks off, here or in the block.
        """
        timeout = Timeout(connect=CONNECT_S, read=idle_s)
        with _failures(service), body.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            headers = {**headers, "Content-Length": str(length)}
            with self._ask(service, path, timeout, headers, file) as response:
                yield response

    def _post(
        self,
        service: Service,
        path: str,
        body: Multipart | bytes,
        kind: str,
        limit_s: float,
        **more: str,
    ) -> AbstractContextManager[BaseHTTPResponse]:
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **more}
        return self._ask(service, path, Timeout(connect=CONNECT_S, read=limit_s), headers, body)

    @contextmanager
    def _ask(
        self,
        service: Service,
        path: str,
        timeout: Timeout,
        headers: Mapping[str, str] = _NONE,
        body: Body | None = None,
    ) -> Iterator[BaseHTTPResponse]:
        """Send a request; where its answer is not read to the end the connection is closed."""
        try:
            response = self._pool_of(service.base_url).urlopen(
                "GET" if body is None else "POST",
                path,
                body,
                {**self._headers, **headers, **_key(service)},
                retries=_ONCE,
                redirect=False,
                assert_same_host=False,
                timeout=timeout,
                preload_content=False,
            )
        except ValueError:  # of a header that is none; its text quotes it, and that may be a key
            raise InvalidHeader("a header cannot be sent") from None
        try:
            yield response
        finally:
            response.close()
            response.release_conn()


class _Connection(HTTPConnection):
    """As urllib3's, but whether the service has closed it is asked of the kernel alone.

    gevent's poll, which waits as others work, takes ten times as long not to wait.
    """

    @property
    def is_connected(self) -> bool:
        """Whether it is open, and nothing has come that nobody asked for."""
        if self.sock is None:
            return False
        poll = _poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


def _pool(base_url: str) -> HTTPConnectionPool:
    """Connections to a service. No proxies and no .netrc: it is reached directly."""
    if base_url.startswith("https:"):
        return connection_from_url(
            base_url, maxsize=_MOST_IDLE, blocksize=_SEND_BYTES, ca_certs=certifi.where()
        )
    pool = connection_from_url(base_url, maxsize=_MOST_IDLE, blocksize=_SEND_BYTES)
    pool.ConnectionCls = _Connection
    return pool


def failure(
    service: Service,
    status: int,
    answer: Any,  # noqa: ANN401 - JSON
    retry_after: str | None,
) -> UpstreamError:
    """What a service's status and error object mean for the one who asked."""
    answer = _shown(service, answer)
    if status >= 500:  # noqa: PLR2004 - HTTP's own classes
        # The text may hold anything, CUDA's view of the world included: it goes to the log only.
        return UnavailableError(
            service.name,
            f"{service.title} failed on this request (status {status}); it may need a moment to "
            "recover.",
            log=f"status {status}: {_message(answer)}",
            status=status,
        )
    if status in _CLIENTS_FAULT:
        return RejectedError(
            service.name,
            status,
            _message(answer) or f"{service.title} refused the request (status {status}).",
            retry_after=retry_after,
            param=_word(answer, "param"),
            code=_word(answer, "code"),
        )
    reason = "refuses the gateway's key" if status in (401, 403) else f"answered {status}"
    return MisconfiguredError(
        service.name, f"{service.title} {reason}: check how it is registered."
    )


@contextmanager
def time_limit(
    service: Service, limit_s: float, late: str = "did not finish within the time limit of"
) -> Iterator[None]:
    """End the block after so many seconds, whatever drips in meanwhile."""
    timer = gevent.Timeout.start_new(limit_s)
    message = f"{service.title} {late} {limit_s:.0f} s."
    try:
        yield
    except gevent.Timeout as timeout:
        if timeout is not timer:
            raise
        raise TimeLimitError(service.name, message) from None
    except ReadTimeoutError:
        raise TimeLimitError(service.name, message) from None
    finally:
        timer.close()


@contextmanager
def _failures(service: Service) -> Iterator[None]:
    try:
        yield
    except ReadTimeoutError:
        raise
    except (HTTPError, OSError) as error:
        # Whether it failed before anything was sent.
        is_connecting = isinstance(error, NewConnectionError | ConnectTimeoutError)
        what = "cannot be reached" if is_connecting else "broke off the connection"
        raise UnavailableError(
            service.name, f"{service.title} {what}; it may be starting again.", log=_kinds(error)
        ) from error


def _kinds(error: BaseException) -> str:
    """What happened, for the log: no error's own text, which may quote a header and its key."""
    told = f"{type(error).__name__}({(isinstance(error, OSError) and error.strerror) or ''})"
    return told if error.__context__ is None else f"{told} after {_kinds(error.__context__)}"


def _check(service: Service, response: BaseHTTPResponse) -> None:
    if response.status != 200:  # noqa: PLR2004 - HTTP's own number
        answer = _json(_read(service, response))
        raise failure(service, response.status, answer, response.headers.get("Retry-After"))


def _answer(service: Service, response: BaseHTTPResponse, *, or_subtitles: bool) -> dict[str, Any]:
    _check(service, response)
    body = _read(service, response)
    if or_subtitles and b" --> " in body and not isinstance(_json(body), dict):
        return {"text": body.decode(errors="replace")}
    return _object(service, body)


def _read(service: Service, response: BaseHTTPResponse) -> bytes:
    body = bytearray()
    for piece in response.stream(_READ_BYTES):
        body += piece
        _check_size(service, body)
    return bytes(body)


def _lines(service: Service, response: BaseHTTPResponse) -> Iterator[dict[str, Any]]:
    """The objects of NDJSON, each as soon as its line is complete."""
    line = bytearray()
    for piece in response.stream(_READ_BYTES):
        head, *tails = piece.split(b"\n")
        line += head
        for tail in tails:
            yield _object(service, line)
            line = bytearray(tail)
        _check_size(service, line)
    if line:
        yield _object(service, line)


def _check_size(service: Service, read: bytearray) -> None:
    if len(read) > _LARGEST_ANSWER:
        raise UnavailableError(service.name, f"{service.title} sent an endless answer.")


def _object(service: Service, text: bytes | bytearray) -> dict[str, Any]:
    answer = _json(text)
    if not isinstance(answer, dict):
        raise UnavailableError(service.name, f"{service.title} answered something unreadable.")
    return answer


def _json(body: bytes | bytearray) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _shown(service: Service, told: Any, *, lists: bool = True) -> Any:  # noqa: ANN401 - JSON
    """What a service says of itself, as others may read it; None if nobody can."""
    try:
        return without_key(service, told, lists=lists)
    except RecursionError:
        return None


def _message(answer: Any) -> str:  # noqa: ANN401 - JSON
    """The error text of an answer: OpenAI's object, FastAPI's detail, or a plain string."""
    if isinstance(answer, Mapping):
        answer = answer.get("error", answer.get("detail"))
    if isinstance(answer, Mapping):
        answer = answer.get("message")
    return answer[:_LONGEST_MESSAGE] if isinstance(answer, str) else ""


def _word(answer: Any, name: str) -> str | None:  # noqa: ANN401 - JSON
    """`param` or `code` of OpenAI's error object."""
    error = answer.get("error") if isinstance(answer, Mapping) else None
    word = error.get(name) if isinstance(error, Mapping) else None
    return word if isinstance(word, str) and _WORD.fullmatch(word) else None


def _key(service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.api_key}"} if service.api_key else {}

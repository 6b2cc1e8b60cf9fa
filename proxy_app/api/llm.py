"""A request to a language model and its answer, passed on byte for byte."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flask import Response, g, request

from proxy_app.api.connection import cut_off
from proxy_app.api.json_members import Wanted, members
from proxy_app.api.refusals import complete
from proxy_app.api.relay import Relay
from proxy_app.api.streams import sse
from proxy_app.api.uploads import spooled_json
from proxy_app.errors import RETRY_IN_A_MINUTE, ApiError, BadRequestError, ClientGoneError
from proxy_app.errors.translations import as_api_error
from proxy_app.gateway import Gateway, current
from proxy_app.routing import health_of, joined, not_ready, of_each, refused
from proxy_app.services import Health, QueueFullError, Service
from proxy_app.services.health import READY, SUSPECT
from proxy_app.telemetry import Account
from proxy_app.telemetry.account import KEY
from proxy_app.upstreams import (
    Limits,
    MisconfiguredError,
    TimeLimitError,
    UnavailableError,
    UpstreamError,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = logging.getLogger(__name__)

_LONGEST_ACCEPT = 200
_LONGEST_MODEL = 4096
_MODEL = "model"
_LOOKED_AT = Wanted(_MODEL)
"""Of a request only this is; the rest is checked to be JSON."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """The head of an answer, whose bytes follow; the last of them are none at all."""

    by: str
    status: int
    headers: Mapping[str, str]
    is_stream: bool
    """Whether it is events, to which one more can be added."""


def pass_on(path: str) -> Response:
    """Have a language model answer this request.

    Raises:
        ApiError, QueueFullError, UpstreamError: nothing of an answer has come; each carries what
            the client gets.
    """
    gateway = current()
    services = gateway.registry.read().all("llm", "openai")
    if not services:
        raise ApiError(
            "No language model is registered. The gateway's page says how to register one.",
            status=503,
            code="no_service",
            headers=RETRY_IN_A_MINUTE,
        )
    body = spooled_json(gateway.config.llm_max_bytes)
    exchange = _Exchange(
        gateway, services, _model(body), path, body, _headers(), request.environ[KEY]
    )
    relay: Relay[_Begun | bytes] = Relay(request.environ, exchange.run)
    try:
        begun = cast(_Begun, relay.get())
    except BaseException:
        relay.close()
        raise
    # Nobody else will be asked: the body and its place go with the view, however long this takes.
    pieces = _pieces(cast(Relay[bytes], relay), request.environ, is_stream=begun.is_stream)
    response = Response(pieces, begun.status, dict(begun.headers))
    response.headers["x-served-by"] = begun.by
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep events until it has many
    response.call_on_close(relay.close)
    return response


@dataclass
class _Exchange:
    """What is done for one request, in a greenlet of its own."""

    gateway: Gateway
    services: tuple[Service, ...]
    model: str
    path: str
    body: Path
    headers: Mapping[str, str]
    account: Account
    begun: bool = False
    """Whether an answer has: from then on no other service can take over."""

    def run(self, put: Callable[[_Begun | bytes], None]) -> None:
        """Put the head of an answer, its bytes as they come, and b"" at the end.

        Where a service fails before its answer has begun the next one is asked.
        """
        failures: list[UpstreamError | QueueFullError] = []
        for service in self._in_turn():
            try:
                self._ask(service, put)
            except (UnavailableError, MisconfiguredError, TimeLimitError) as error:
                self._note(error, service)
                if self.begun or isinstance(error, TimeLimitError):
                    raise
                failures.append(error)
            except QueueFullError as error:
                if not error.is_line_full:
                    raise
                failures.append(error)
            else:
                return
        raise failures[-1]

    def _ask(self, service: Service, put: Callable[[_Begun | bytes], None]) -> None:
        gateway, config = self.gateway, self.gateway.config
        limits = Limits(config.llm_first_byte_s, config.llm_idle_s)
        with (
            self.account.at_service(service.name, gateway.place(service)),
            gateway.llm.post(service, self.path, self.body, self.headers, limits) as answer,
        ):
            self.begun = True
            self.account.answer_began()
            if answer.status < HTTPStatus.BAD_REQUEST:
                gateway.reports.answered(service.name)
            else:
                complete(answer)
            begun = _Begun(service.name, answer.status, answer.headers, answer.is_plain)
            if not answer.is_whole:
                put(begun)
                while piece := answer.read():
                    put(piece)
        if answer.is_whole:  # the place is free, and what it took is known
            put(begun)
            put(answer.beginning)
        put(b"")

    def _in_turn(self) -> Iterator[Service]:
        """Those that can take it now: by model, then the least busy one.

        A server that has no alternative is not asked how it is: it says so in its answer.
        """
        is_only = len(self.services) == 1
        ordered = self.services
        if not is_only:
            # All are asked before any is counted: those of one moment are counted in one moment.
            asked = of_each(lambda it: health_of(self.gateway, it), self.services)
            healths = dict(zip(self.services, asked, strict=True))
            ordered = tuple(sorted(self.services, key=lambda it: self._rank(it, healths[it])))
        refusals: list[ApiError] = []
        for service in ordered:
            refusal = refused(self.gateway, (service,))
            if not is_only:
                refusal = refusal or not_ready(self.gateway, (service,), (READY, SUSPECT))
            if refusal is None:
                yield service
            else:
                refusals.append(refusal)
        if len(refusals) == len(ordered):
            raise joined(refusals)

    def _rank(self, service: Service, health: Health) -> tuple[bool, bool, int]:
        """The smaller, the better: has not the model, is not well, has so many requests."""
        has_model = self.model in (*health.models, service.model)
        return not has_model, not health.ready, self.gateway.places.wanted(service.name)

    def _note(
        self, error: UnavailableError | MisconfiguredError | TimeLimitError, service: Service
    ) -> None:
        """Tell the others of a failure."""
        log.warning("%s", error)
        self.gateway.health.forget(service)
        if not isinstance(error, MisconfiguredError):
            status = error.status if isinstance(error, UnavailableError) else None
            self.gateway.reports.failed(service.name, status=status, reason=error.message)


def _model(body: Path) -> str:
    """The model that a request names; "" if none, or no text, or a very long one.

    Raises:
        BadRequestError: it is no JSON object.
    """
    try:
        with body.open("rb", buffering=0) as file:
            place = members(file, _LOOKED_AT).get(_MODEL)
            if place is None or place.end - place.start > _LONGEST_MODEL:
                return ""
            file.seek(place.start)
            named = json.loads(file.read(place.end - place.start), strict=False)
    except ValueError:
        raise BadRequestError(
            "The body is no JSON object, or it is nested more than is read here.",
            code="invalid_json",
        ) from None
    return named if isinstance(named, str) else ""


def _headers() -> dict[str, str]:
    """What is sent on of a request's headers; its Authorization is for us and nobody else."""
    accepted = request.headers.get("Accept", "*/*")[:_LONGEST_ACCEPT]
    return {
        "Content-Type": "application/json",
        "Accept": accepted,
        "x-request-id": g.request_id,
    }


def _pieces(relay: Relay[bytes], environ: WSGIEnvironment, *, is_stream: bool) -> Iterator[bytes]:
    last = b""
    try:
        while piece := relay.get():
            yield piece
            last = (last + piece)[-4:]
    except ClientGoneError:
        return
    except Exception as error:  # noqa: BLE001 - the status is sent: this is all that can be told
        told = as_api_error(error)
        if not is_stream:
            cut_off(environ)
            return
        # An event that broke off ends here, or ours would be a part of it.
        is_between = not last or last.endswith((b"\n\n", b"\r\r", b"\r\n\r\n"))
        yield (b"" if is_between else b"\n\n") + sse({"error": told.body})

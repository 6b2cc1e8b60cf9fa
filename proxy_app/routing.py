"""Which route a request takes, and which one after that has failed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from gevent.pool import Pool

from proxy_app.errors import DO_NOT_RETRY, RETRY_IN_A_MINUTE, ApiError
from proxy_app.gateway import Gateway
from proxy_app.services import (
    Alone,
    AnyRoute,
    Health,
    Pair,
    Route,
    Service,
    Speaking,
    Tiers,
    each,
    longest_s,
)
from proxy_app.services.health import GIVEN_UP, READY, SUSPECT

REMEMBERED_S = 5.0
"""How old what a service said of itself may be; it is asked no more often for all requests."""
_MOST_ASKED = 16
"""Services that are asked side by side."""
T = TypeVar("T")


def in_turn(
    gateway: Gateway,
    tiers: Tiers[AnyRoute],
    duration_s: float,
    refusals: list[ApiError] | None = None,
) -> Iterator[AnyRoute]:
    """The routes that can take a recording now, the best first; the next one if that has failed.

    Of those of a tier it is the one that the fewest requests are at or wait for, in all workers.
    One that says nothing, when it is asked how it is, comes behind all that do.
    A WhisperX server that has no alternative is not asked how it is: it says so in its answer.

    Args:
        gateway: knows how the services are.
        tiers: with at least one route.
        duration_s: the recording's length.
        refusals: is told why others cannot.

    Raises:
        ApiError: 413, it is too long for all; 503, none is ready. Not if one was tried.
    """
    refusals = [] if refusals is None else refusals
    is_only = len(each(tiers)) == 1
    tried: list[AnyRoute] = []

    def best(tier: Iterable[AnyRoute], *, silent_too: bool) -> AnyRoute | None:
        """The next of a tier; how they are is looked at anew, perhaps after minutes."""
        able = []
        for route in tier:
            if route in tried:
                continue
            refusal = _refusal(gateway, route, duration_s, is_only=is_only)
            if refusal is not None:
                refusals.append(refusal)
            elif silent_too or not _is_silent(gateway, route):
                able.append(route)
        # Nothing is waited for between this and taking a place: whoever comes sees that.
        if len(able) > 1:
            return min(able, key=lambda it: _load(gateway, it))
        return able[0] if able else None

    for silent_too in (False, True):
        for tier in tiers:
            while route := best(tier, silent_too=silent_too):
                tried.append(route)
                yield route
    if not tried:
        raise joined(refusals)


def _refusal(
    gateway: Gateway, route: Route | Speaking, duration_s: float, *, is_only: bool
) -> ApiError | None:
    """Why a route cannot be taken; None if it can."""
    refusal = _too_long(gateway, route, duration_s) or refused(gateway, route.services)
    if refusal or (is_only and isinstance(route, Alone)):
        return refusal
    # Parakeet servers of others may have no /health at all.
    may_work = (READY,) if isinstance(route, Alone) else (READY, SUSPECT)
    return not_ready(gateway, route.services, may_work)


def _is_silent(gateway: Gateway, route: Route | Speaking) -> bool:
    """Whether one of its services said nothing when it was asked how it is; asks nobody."""
    known = (gateway.health.known(service) for service in route.services)
    return any(health is not None and health.is_silent for health in known)


def _load(gateway: Gateway, route: Route | Speaking) -> tuple[int, bool]:
    """The smaller, the better: the requests of its services, and whether they are far apart."""
    hosts = {service.host for service in route.services}
    return sum(gateway.places.wanted(it.name) for it in route.services), len(hosts) > 1


def joined(refusals: Sequence[ApiError]) -> ApiError:
    """One error for a client whom nobody can serve: why, of each who was asked."""
    worst = max(
        refusals,
        # Of those that are not ready one that may be soon: the client is to come back then.
        key=lambda refusal: (refusal.status == 413, not refusal.headers.keys() & DO_NOT_RETRY),  # noqa: PLR2004 - HTTP's
    )
    # A service that is a part of several pairs has said the same for each.
    said = dict.fromkeys([worst.message, *(refusal.message for refusal in refusals)])
    worst.message = " ".join(said)
    return worst


def health_of(gateway: Gateway, service: Service) -> Health:
    """How a service is, or was a moment ago."""
    return gateway.health.of(service, at_most_s=REMEMBERED_S)


def of_each(ask: Callable[[Service], T], services: Sequence[Service]) -> list[T]:
    """What each service answers, asked side by side; in their order."""
    return Pool(_MOST_ASKED).map(ask, services)


def state_of(gateway: Gateway, name: str) -> str:
    """How a service is, without asking anybody: as the watch process says, while there is one.

    Without one it is as the service itself said last, to this worker; "unknown" where it was not
    asked.
    """
    if verdict := gateway.reports.verdict(name):
        return verdict.state
    return gateway.health.state_of(name) or "unknown"


def _too_long(gateway: Gateway, route: Route | Speaking, duration_s: float) -> ApiError | None:
    if isinstance(route, Alone):
        service, limit_s = route.whisperx, longest_s(route.whisperx)
    elif isinstance(route, Pair):
        # A recording cannot be cut for it: what it calls people holds for one request.
        service = route.sortformer
        limit_s = longest_s(service, health_of(gateway, service)) if duration_s else None
    else:
        return None
    if limit_s is None or duration_s <= limit_s:
        return None
    message = (
        f"The recording has {duration_s:.0f} s; {service.title}, which tells the speakers apart, "
        f"takes at most {limit_s:.0f} s at once. Split it."
    )
    return ApiError(message, status=413, code="audio_too_long", param="file")


def refused(gateway: Gateway, services: Iterable[Service]) -> ApiError | None:
    """What the watch process has found of services that are not to be tried."""
    for service in services:
        verdict = gateway.reports.verdict(service.name)
        if verdict is None or not verdict.refuses:
            continue
        is_given_up = verdict.state == GIVEN_UP
        said = f"{service.title} is {verdict.state.replace('_', ' ')}: {verdict.detail}"
        return ApiError(
            said if is_given_up else f"{said} Try again in a minute.",
            status=503,
            code="upstream_unavailable",
            # Tries that come by themselves would go on for as long as nobody mends it.
            headers=RETRY_IN_A_MINUTE
            | {"x-served-by": service.name}
            | (DO_NOT_RETRY if is_given_up else {}),
        )
    return None


def not_ready(
    gateway: Gateway, services: Iterable[Service], may_work: Collection[str]
) -> ApiError | None:
    """Which service says of itself that it cannot work now; `may_work` are the states that can."""
    for service in services:
        health = health_of(gateway, service)
        if health.state not in may_work:
            return ApiError(
                f"{service.title} is {health.state}: {health.detail} Try again in a minute.",
                status=503,
                code="upstream_unavailable",
                headers=RETRY_IN_A_MINUTE | {"x-served-by": service.name},
            )
    return None

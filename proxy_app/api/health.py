"""/livez and /readyz, as Kubernetes names them: machines read the status, people the lines."""

from __future__ import annotations

from itertools import chain

from flask import Blueprint, Response, request

from proxy_app.gateway import Gateway, current
from proxy_app.services import Needs, Route, each, routes

bp = Blueprint("health", __name__)


@bp.get("/livez")
def livez() -> Response:
    """The gateway itself lives; services have no part in it, or one would restart the other."""
    return _lines(200, "ok")


@bp.get("/readyz")
def readyz() -> Response:
    """200 once conversations can be transcribed, else 503 and why not; `?verbose` lists all."""
    gateway = current()
    registered = gateway.registry.read()
    found = each(routes(registered, Needs(speakers=True)))
    unready = [_unready(gateway, route) for route in found]
    is_ready = [] in unready
    lines = ["ok"] if is_ready else list(chain(*unready))
    if not found:
        lines = ["no service that tells speakers apart is registered"]
    if "verbose" in request.args:
        healths = gateway.health.of_all(registered.services)
        for service, its in zip(registered.services, healths, strict=True):
            mark = "+" if its.ready else "-"
            lines.append(f"[{mark}] {service.name} {its.state} {its.detail}".rstrip())
        lines += [f"[!] {bad.file} is skipped: {bad.reason}" for bad in registered.malformed]
    return _lines(200 if is_ready else 503, *lines)


def _unready(gateway: Gateway, route: Route) -> list[str]:
    """What is wrong with a route's services; nothing if they are ready."""
    healths = [(service, gateway.health.of(service)) for service in route.services]
    return [
        f"{service.name} is {health.state}: {health.detail}"
        for service, health in healths
        if not health.ready
    ]


def _lines(status: int, *lines: str) -> Response:
    return Response("\n".join(lines) + "\n", status, content_type="text/plain; charset=utf-8")

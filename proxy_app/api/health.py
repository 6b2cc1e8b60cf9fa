"""/livez and /readyz, as Kubernetes names them: machines read the status, people the lines."""

from __future__ import annotations

from flask import Blueprint, Response, request

from proxy_app.gateway import current

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
    speakers = registered.first("speakers")
    if speakers is None:
        return _lines(503, "no speakers service is registered")
    health = gateway.health.of(speakers)
    told = "ok" if health.ready else f"{speakers.name} is {health.state}: {health.detail}"
    lines = [told]
    if "verbose" in request.args:
        healths = gateway.health.of_all(registered.services)
        for service, its in zip(registered.services, healths, strict=True):
            mark = "+" if its.ready else "-"
            lines.append(f"[{mark}] {service.name} {its.state} {its.detail}".rstrip())
        lines += [f"[!] {bad.file} is skipped: {bad.reason}" for bad in registered.malformed]
    return _lines(200 if health.ready else 503, *lines)


def _lines(status: int, *lines: str) -> Response:
    return Response("\n".join(lines) + "\n", status, content_type="text/plain; charset=utf-8")

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
    speakers = registered.first("speakers", "whisperx")
    health = gateway.health.of(speakers) if speakers else None
    is_ready = health is not None and health.ready
    if speakers is None or health is None:
        lines = ["no service that tells speakers apart is registered"]
    else:
        lines = ["ok" if is_ready else f"{speakers.name} is {health.state}: {health.detail}"]
    if "verbose" in request.args:
        healths = gateway.health.of_all(registered.services)
        for service, its in zip(registered.services, healths, strict=True):
            mark = "+" if its.ready else "-"
            lines.append(f"[{mark}] {service.name} {its.state} {its.detail}".rstrip())
        lines += [f"[!] {bad.file} is skipped: {bad.reason}" for bad in registered.malformed]
    return _lines(200 if is_ready else 503, *lines)


def _lines(status: int, *lines: str) -> Response:
    return Response("\n".join(lines) + "\n", status, content_type="text/plain; charset=utf-8")

"""/api/services: what is registered and how it is, for the page and for people with curl."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from proxy_app.api import jobs as jobs_api
from proxy_app.api.errors import ApiError
from proxy_app.gateway import Gateway, current
from proxy_app.services import Health, Service

bp = Blueprint("services", __name__, url_prefix="/api/services")

_KIND_NAMES = {
    "speakers": "Speech to text with speakers",
    "asr": "Speech to text",
    "diarize": "Speakers",
    "tts": "Text to speech",
    "llm": "Language model",
}


@bp.get("")
def services() -> Response:
    """`{"services": [...], "malformed": [{"file", "reason"}]}`."""
    return jsonify(snapshot(current()))


@bp.post("/<name>/<any(start, stop, restart):verb>")
def switch(name: str, verb: str) -> Response:
    """Start, stop or restart a service: a job beside whatever else its host is busy with."""
    jobs_api.body({})
    gateway = current()
    services = gateway.registry.read().services
    service = next((service for service in services if service.name == name), None)
    if service is None:
        raise ApiError("There is no such service.", status=404, code="not_found")
    return jobs_api.accepted(gateway.room.desk.switch(verb, service))


def snapshot(gateway: Gateway) -> dict[str, Any]:
    """The services and their health, as the page and its script show them."""
    registered = gateway.registry.read()
    healths = gateway.health.of_all(registered.services)
    ready = sum(health.ready for health in healths)
    return {
        "summary": f"{ready} of {len(healths)} ready" if healths else "",
        "services": [
            _shown(service, health)
            for service, health in zip(registered.services, healths, strict=True)
        ],
        "malformed": [
            {"file": malformed.file, "reason": malformed.reason}
            for malformed in registered.malformed
        ],
    }


def _shown(service: Service, health: Health) -> dict[str, Any]:
    """Everything but the key, raw and in words. What runs goes before what is registered."""
    override = f", instead of {service.overrides}" if service.overrides else ""
    return {
        "name": service.name,
        "title": service.title,
        "kind": service.kind,
        "kind_name": _KIND_NAMES[service.kind],
        "api": service.api,
        "base_url": service.base_url,
        "address": service.base_url.partition("://")[2],
        "host": service.host,
        "container": service.container,
        "registered": f"{service.source}{override}",
        **health.shown(),
        "model": health.model or service.model,
        "uptime": _in_words(health.uptime_s),
        "work": _work(health.in_flight),
    }


def _work(requests: int | None) -> str | None:
    if requests is None:
        return None
    return {0: "nothing", 1: "1 request"}.get(requests, f"{requests} requests")


def _in_words(seconds: float | None) -> str | None:
    """A length of time as people say it, with the two largest units: "2 d 3 h"."""
    if seconds is None:
        return None
    parts: list[str] = []
    rest = int(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])

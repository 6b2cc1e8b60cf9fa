"""/api/services: what is registered, how it is, and what may be done about it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response, jsonify
from sqlalchemy.exc import SQLAlchemyError

from proxy_app.api import jobs as jobs_api
from proxy_app.api.guard import asked_by
from proxy_app.errors import RETRY_SOON, ApiError, BadRequestError
from proxy_app.gateway import Gateway, current
from proxy_app.jobs import ActiveJobError
from proxy_app.jobs.forms import FormError
from proxy_app.jobs.ledger import PREVIEW
from proxy_app.jobs.project import ProjectError
from proxy_app.jobs.states import ACTIVE
from proxy_app.services import Health, Service
from proxy_app.services.health import ABSENT, STOPPED, UNREACHABLE
from proxy_app.store import Job, SchemaError, ServiceSetting, ServiceState
from proxy_app.watch.records import RESTARTS

log = logging.getLogger(__name__)

ON: dict[str, type] = {"on": bool}

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


@bp.get("/<name>")
def one(name: str) -> Response:
    """One service."""
    return jsonify(shown_one(current(), _named(name)))


@bp.post("/<name>/<any(start, stop, restart):verb>")
def switch(name: str, verb: str) -> Response:
    """Start, stop or restart a service: a job beside whatever else its host is busy with."""
    jobs_api.body({})
    return jobs_api.accepted(current().room.desk.switch(verb, _named(name), by=asked_by()))


@bp.post("/<name>/check")
def check(name: str) -> Response:
    """Have it probed at once; `last_check` has the result in a moment."""
    jobs_api.body({})
    gateway, service = current(), _named(name)
    if not gateway.reports.is_watched():
        raise ApiError(
            "The watch process, which probes services, does not run at the moment.",
            status=503,
            code="not_watched",
            headers=RETRY_SOON,
        )
    gateway.reports.ask(name)
    response = jsonify(shown_one(gateway, service))
    response.status_code = 202
    return response


@bp.put("/<name>/auto_restart")
def auto_restart(name: str) -> Response:
    """`{"on": true}`: whether it may be restarted when it is stuck, however it is registered."""
    on = jobs_api.body(ON).get("on")
    gateway, service = current(), _named(name)
    if on is None:
        raise BadRequestError("`on` is missing: true or false.", param="on")
    gateway.records.set_auto_restart(name, on=on)
    return jsonify(shown_one(gateway, service))


@bp.delete("/<name>")
def remove(name: str) -> Response:
    """Hide it, until it is registered otherwise than now; nothing happens on its host."""
    gateway, service = current(), _named(name)
    if service.is_embedded:
        raise ApiError(
            "The embedded engine belongs to `make up`. Register another WhisperX server, and it is"
            " left out.",
            status=409,
            code="embedded",
        )
    if job := _Facts(gateway).job(service):
        raise ActiveJobError(job)
    gateway.records.remove(service)
    gateway.removed.write(gateway.records.removed())
    return Response(status=204)


def snapshot(gateway: Gateway) -> dict[str, Any]:
    """The services and how they are, as the page and its script show them."""
    registered = gateway.registry.read()
    healths = gateway.health.of_all(registered.services)
    facts = _Facts(gateway)
    shown = [
        _shown(service, health, facts)
        for service, health in zip(registered.services, healths, strict=True)
    ]
    ready = sum(one["ready"] for one in shown)
    return {
        "summary": f"{ready} of {len(shown)} ready" if shown else "",
        "services": shown,
        "malformed": [
            {"file": malformed.file, "reason": malformed.reason}
            for malformed in registered.malformed
        ],
    }


@dataclass
class _Facts:
    """What the database has of all services; nothing where it does not answer."""

    gateway: Gateway
    is_watched: bool = False
    states: dict[str, ServiceState] = field(default_factory=dict)
    settings: dict[str, ServiceSetting] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        records = self.gateway.records
        try:
            self.settings = records.settings()
            self.left = dict(records.restarts_left())
            active = (Job.state.in_(ACTIVE), Job.lane != PREVIEW)
            self.jobs = list(self.gateway.room.jobs.history(*active))
            if self.gateway.reports.is_watched():
                self.states, self.is_watched = records.states(), True
        except (SQLAlchemyError, SchemaError) as error:
            log.warning("the database does not answer: %s", type(error).__name__)

    def job(self, service: Service) -> Job | None:
        """The job that works on a service, or is about to."""
        place = self.place(service)
        return next((job for job in self.jobs if (job.host, job.target) == place), None)

    def place(self, service: Service) -> tuple[str, str] | None:
        """Where it can be switched, if it can."""
        try:
            return self.gateway.room.desk.place_of(service)
        except (FormError, ProjectError):
            return None


def _named(name: str) -> Service:
    services = current().registry.read().services
    service = next((service for service in services if service.name == name), None)
    if service is None:
        raise ApiError("There is no such service.", status=404, code="not_found")
    return service


def shown_one(gateway: Gateway, service: Service) -> dict[str, Any]:
    """One service, as GET /api/services/NAME shows it."""
    return _shown(service, gateway.health.of(service), _Facts(gateway))


def _shown(service: Service, health: Health, facts: _Facts) -> dict[str, Any]:
    """Everything but the key, raw and in words. What runs goes before what is registered."""
    override = f", instead of {service.overrides}" if service.overrides else ""
    known = facts.states.get(service.name)
    setting = facts.settings.get(service.name)
    chosen = setting.auto_restart if setting else None
    last = known.last_check if known else None
    state = known.state if known else health.state
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
        "embedded": service.is_embedded,
        "registered": f"{service.source}{override}",
        **health.shown(),
        "state": state,
        "ready": state == "ready",
        "detail": known.detail if known else health.detail,
        "since": jobs_api.time_text(known.since) if known else None,
        "model": health.model or service.model,
        "uptime": _in_words(health.uptime_s),
        "work": _work(health.in_flight),
        "restarts_left": facts.left.get(service.name, RESTARTS),
        "auto_restart": service.auto_restart if chosen is None else chosen,
        "checking": known.checking if known else False,
        "last_check": {**last, "at": jobs_api.time_text(last["at"])} if last else None,
        "actions": _actions(service, state, facts),
    }


def _actions(service: Service, state: str, facts: _Facts) -> list[str]:
    """What may be done now."""
    if facts.job(service):
        return []
    verbs = {STOPPED: ["start"], ABSENT: [], UNREACHABLE: ["start", "stop", "restart"]}
    actions = verbs.get(state, ["stop", "restart"]) if facts.place(service) else []
    if facts.is_watched and state not in (STOPPED, ABSENT):
        actions = [*actions, "check"]
    return actions if service.is_embedded else [*actions, "remove"]


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

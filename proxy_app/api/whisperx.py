"""/api/whisperx: whether it is there, and the one click that installs it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from proxy_app.api import jobs as jobs_api
from proxy_app.api import services as services_api
from proxy_app.api.guard import asked_by
from proxy_app.gateway import current
from proxy_app.jobs.kinds import KINDS
from proxy_app.jobs.ledger import NoJobError
from proxy_app.jobs.project import ProjectError
from proxy_app.services.health import ABSENT
from proxy_app.store import Job

bp = Blueprint("whisperx", __name__, url_prefix="/api/whisperx")

_INSTALL = "whisperx.install"


@bp.get("/status")
def status() -> Response:
    """Where it stands: `installed` is registered, `healthy` serves, `job` is the last install.

    How it is says whoever says so in /api/services: the watch process, while there is one.
    """
    gateway = current()
    service = gateway.registry.read().first("speakers", "whisperx")
    shown = services_api.shown_one(gateway, service) if service else {}
    job = gateway.room.jobs.last(Job.kind == _INSTALL, Job.preview.is_(False))
    found: dict[str, Any] = {
        "installed": service is not None,
        "healthy": shown.get("ready", False),
        "state": shown.get("state", ABSENT),
        "detail": shown.get("detail", ""),
        "service": service.name if service else None,
        "host": service.host if service else None,
        "model": shown.get("model"),
        "job": jobs_api.shown(job) if job else None,
        **_hosts(),
    }
    return jsonify(found)


@bp.post("/install")
def install() -> Response:
    """Install it: host (where the inventory has several), variables, preview."""
    given = jobs_api.body(jobs_api.INSTALL)
    return jobs_api.accepted(current().room.desk.order(_INSTALL, **given, by=asked_by()))


@bp.get("/install/<job_id>")
def one(job_id: str) -> Response:
    """How the install is."""
    _refuse_others(job_id)
    return jobs_api.one(job_id)


@bp.get("/install/<job_id>/stream")
def events(job_id: str) -> Response:
    """Its events (SSE), as those of any job."""
    _refuse_others(job_id)
    return jobs_api.events(job_id)


def _refuse_others(job_id: str) -> None:
    if current().room.jobs.get(job_id).kind != _INSTALL:
        raise NoJobError(job_id)


def _hosts() -> dict[str, Any]:
    """Where it can be installed; an inventory that cannot be read does not hide the rest."""
    try:
        return {"hosts": current().room.desk.hosts_for(KINDS[_INSTALL]), "hosts_error": None}
    except ProjectError as error:
        return {"hosts": [], "hosts_error": str(error)}

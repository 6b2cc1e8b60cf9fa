"""/api/jobs: what was asked for, what runs, what came of it; and the forms to ask with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, jsonify, request
from sqlalchemy import ColumnElement

from proxy_app.api.guard import asked_by
from proxy_app.api.job_stream import stream
from proxy_app.errors import ApiError, BadRequestError
from proxy_app.gateway import current
from proxy_app.jobs import State
from proxy_app.jobs.events import EventReader, plain
from proxy_app.jobs.forms import fields
from proxy_app.jobs.kinds import KINDS
from proxy_app.jobs.ledger import SERVICE
from proxy_app.jobs.states import ACTIVE
from proxy_app.store import Job

bp = Blueprint("jobs", __name__, url_prefix="/api/jobs")

_BODY_BYTES = 64 * 1024
_MOST = 200
LARGEST_ID = 2**53
_FILTERS = {"host": Job.host, "service": Job.service, "kind": Job.kind}
INSTALL: dict[str, type] = {"host": str, "variables": dict, "preview": bool}
ORDER = {"kind": str, **INSTALL}
CANCEL: dict[str, type] = {"force": bool}
CHOICES: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": _MOST, "default": 50},
    "before": {"type": "integer", "minimum": 1, "maximum": LARGEST_ID, "default": LARGEST_ID},
    "state": {"type": "string", "enum": ["active", *State]},
    **{name: {"type": "string"} for name in _FILTERS},
}
"""The query of the history, as JSON Schema."""
AFTER = {"type": "integer", "minimum": 0, "maximum": LARGEST_ID, "default": 0}
_EXPECTED = {
    str: "a text", bool: "true or false", int: "a whole number", list: "a list", dict: "an object",
}  # fmt: skip


@bp.get("")
def history() -> Response:
    """`{"jobs": [...], "next": ...}`, the newest first; `next` is the `before` of the next page."""
    limit, before = (number(name, CHOICES[name]) for name in ("limit", "before"))
    jobs = current().room.jobs.history(*_chosen(), before=before, limit=limit)
    return jsonify(
        jobs=[shown(job) for job in jobs],
        next=jobs[-1].number if len(jobs) == limit else None,
    )


@bp.post("")
def order() -> Response:
    """Ask for a job: kind, and optionally host, variables, preview."""
    given = body(ORDER)
    if "kind" not in given:
        raise BadRequestError("`kind` is missing: /api/jobs/kinds lists them.", param="kind")
    kind = given.pop("kind")
    return accepted(current().room.desk.order(kind, **given, by=asked_by()))


@bp.get("/kinds")
def kinds() -> Response:
    """What can be asked for, where, and the form of each."""
    room = current().room
    listed = [
        {
            "kind": kind.name,
            "title": kind.title,
            "service": kind.service,
            "hosts": room.desk.hosts_for(kind),
            "fields": [asdict(field) for field in fields(kind, room.project.root)],
        }
        for kind in KINDS.values()
        if kind.lane != SERVICE
    ]
    return jsonify(kinds=listed)


@bp.get("/<job_id>")
def one(job_id: str) -> Response:
    """One job."""
    return jsonify(shown(current().room.jobs.get(job_id)))


@bp.get("/<job_id>/stream")
def events(job_id: str) -> Response:
    """Its events as they happen (SSE), from behind Last-Event-ID or ?after=."""
    sent = request.headers.get("Last-Event-ID", "")
    after = int(sent) if sent.isdecimal() and len(sent) < len(str(LARGEST_ID)) else None
    if after is None:
        after = number("after", AFTER)
    return stream(current().watches, job_id, after, shown)


@bp.get("/<job_id>/log")
def log(job_id: str) -> Response:
    """The log as a file of text; with ?ansi=1 in colours."""
    jobs = current().room.jobs
    job = jobs.get(job_id)
    colours = request.args.get("ansi", "") in ("1", "true")
    reader = EventReader(jobs.folder(job_id).events)
    response = Response(_lines(reader, colours=colours), content_type="text/plain; charset=utf-8")
    response.call_on_close(reader.close)
    name = f"job-{job.number}{'-colours' if colours else ''}.log"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@bp.post("/<job_id>/cancel")
def cancel(job_id: str) -> Response:
    """End a job; `{"force": true}` does without the seconds that it has to clear up."""
    force = body(CANCEL).get("force", False)
    response = jsonify(shown(current().room.jobs.cancel(job_id, force=force, by=asked_by())))
    response.status_code = 202
    return response


@bp.post("/<job_id>/rerun")
def rerun(job_id: str) -> Response:
    """The same job once more."""
    body({})
    gateway = current()
    job = gateway.room.jobs.get(job_id)
    services = gateway.registry.read().services
    service = next((it for it in services if it.name == job.service), None)
    return accepted(gateway.room.desk.rerun(job, service, by=asked_by()))


def accepted(job: Job) -> Response:
    """202 and where the job is."""
    response = jsonify(job_id=job.id, **shown(job))
    response.status_code = 202
    response.headers["Location"] = _url(job)
    return response


def shown(job: Job) -> dict[str, Any]:
    """A job for JSON. Times are RFC 3339 in UTC; `phase` is the one at work or the last one."""
    return {
        "id": job.id,
        "number": job.number,
        "kind": job.kind,
        "title": KINDS[job.kind].title if job.kind in KINDS else job.kind,
        "host": job.host,
        "service": job.service,
        "preview": job.preview,
        "state": job.state,
        "over": State(job.state).is_over,
        "reason": job.reason,
        "phase": job.phases[-1]["name"] if job.phases else None,
        "phases": [_phase(phase, job) for phase in job.phases],
        "by": job.by,
        "why": job.why,
        "variables": job.variables,
        "rerun_of": job.rerun_of,
        "created_at": time_text(job.created_at),
        "started_at": time_text(job.started_at),
        "finished_at": time_text(job.finished_at),
        "url": _url(job),
        "stream": f"{_url(job)}/stream",
        "log": f"{_url(job)}/log",
    }


def body(known: dict[str, type]) -> dict[str, Any]:
    """The fields of a request's JSON object, which may be missing where all are optional.

    Raises:
        ApiError: it is no JSON object, or a field is unknown or of another type.
    """
    request.max_content_length = _BODY_BYTES
    data = request.get_data()
    if not data:
        return {}
    if not request.is_json:
        raise ApiError(
            "Send the fields as a JSON object (Content-Type: application/json).",
            status=415,
            code="unsupported_media_type",
        )
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise BadRequestError("Expected a JSON object.")
    for name, value in given.items():
        if name not in known:
            raise BadRequestError(f"There is no field {name[:100]!r}.", param=name[:100])
        # JSON's numbers and truths are told apart, as Python's are not.
        if type(value) is not known[name]:
            expected = _EXPECTED[known[name]]
            raise BadRequestError(f"`{name}`: expected {expected}.", param=name)
    return given


def number(name: str, schema: Mapping[str, Any]) -> int:
    """A whole number of the query.

    Args:
        name: its name there.
        schema: as JSON Schema: `minimum`, `maximum`, `default`.

    Raises:
        ApiError: it is none, or out of bounds.
    """
    text = request.args.get(name)
    least, most, default = (int(schema[word]) for word in ("minimum", "maximum", "default"))
    if text is None:
        return default
    digits = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    if not digits or not least <= int(text) <= most:
        raise BadRequestError(f"`{name}`: expected {least} to {most}.", param=name)
    return int(text)


def _chosen() -> Iterator[ColumnElement[bool]]:
    for name, column in _FILTERS.items():
        if name in request.args:
            yield column == request.args[name]
    if (state := request.args.get("state")) is None:
        return
    if state not in CHOICES["state"]["enum"]:
        expected = ", ".join(CHOICES["state"]["enum"])
        raise BadRequestError(f"`state`: expected one of {expected}.", param="state")
    yield Job.state.in_(ACTIVE if state == "active" else (state,))


def _lines(reader: EventReader, *, colours: bool) -> Iterator[str]:
    for event in reader.rest():
        if event["event"] == "log":
            text: str = event["text"]
            yield (f"{text}\x1b[0m" if colours else plain(text)) + "\n"


def _phase(phase: dict[str, Any], job: Job) -> dict[str, Any]:
    # A process that was killed has not written down that its phase is over, too.
    is_left = phase["state"] == State.RUNNING and State(job.state).is_over
    times = {name: time_text(phase[name]) for name in ("started_at", "finished_at")}
    return {"name": phase["name"], "state": job.state if is_left else phase["state"], **times}


def _url(job: Job) -> str:
    return f"/api/jobs/{job.id}"


def time_text(seconds: float | None) -> str | None:
    """A Unix time for JSON: RFC 3339 in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")

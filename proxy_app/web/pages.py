"""The page is complete as the server sends it; its script only keeps it up to date."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, render_template, request

from proxy_app import __version__
from proxy_app.api.services import snapshot
from proxy_app.gateway import current

bp = Blueprint("web", __name__, static_folder=str(Path(__file__).with_name("static")))

_FACTS = (
    ("model", "Model"),
    ("diarizer", "Diarizer"),
    ("device", "Device"),
    ("uptime", "Up for"),
    ("work", "At work on"),
    ("container", "Container"),
    ("registered", "Registered by"),
)
"""The fields of a card, in order, and what they are called there."""


@bp.get("/")
def index() -> str:
    """The services and their health."""
    url = request.host_url.rstrip("/")
    return render_template(
        "index.html", url=url, version=__version__, facts=_FACTS, **snapshot(current())
    )

"""The parts of the page that change, rendered once per change and process, and sent as HTML.

The page as it is first sent and every later state of it are made by the same templates; the script
only puts in what differs. Jinja escapes everything that comes from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, current_app

from proxy_app.api.live import TOPICS, feed, stream
from proxy_app.gateway import Gateway, current
from proxy_app.web.offers import offers
from proxy_app.web.views import host, service

bp = Blueprint("live_page", __name__)

PARTS = ("offers", "services", "hosts", "jobs")
Data = Mapping[str, Mapping[str, Any]]


@bp.get("/live")
def live() -> Response:
    """The parts of the page, as events named after them, at first and whenever they differ."""
    source = feed()
    return stream(source, _rendered_once(source.once, renderer(current())))


def _rendered_once(
    once: dict[int, Any], render: Callable[[Data], dict[str, Any]]
) -> Callable[[Data], dict[str, Any]]:
    """As `render`, but all who are sent the same data share what is made of it."""

    def rendered(data: Data) -> dict[str, Any]:
        if id(data) not in once:
            once.clear()
            # The data is kept beside it: as long as it is, nothing else has its id.
            once[id(data)] = (data, render(data) if data.keys() == TOPICS.keys() else {})
        html: dict[str, Any] = once[id(data)][1]
        return html

    return rendered


def renderer(gateway: Gateway) -> Callable[[Data], dict[str, Any]]:
    """A function that makes the parts of what was collected, outside of requests, too."""
    environment = current_app.jinja_env

    def render(data: Data) -> dict[str, Any]:
        shown = parts(gateway, data)
        return {
            name: environment.get_template(f"parts/{name}.html").render(**shown) for name in PARTS
        }

    return render


def parts(gateway: Gateway, data: Data) -> dict[str, Any]:
    """What the templates of all parts are given."""
    hosts = data["hosts"]["hosts"]
    services = data["services"]["services"]
    jobs = data["jobs"]["jobs"]
    return {
        "offers": offers(gateway, services, hosts),
        "summary": data["services"]["summary"],
        "malformed": data["services"]["malformed"],
        "services": [service(it, hosts, jobs) for it in services],
        "hosts": [host(it) for it in hosts],
        "hosts_error": data["hosts"]["error"],
        "jobs": jobs,
        "more_jobs": data["jobs"]["next"] is not None,
    }


def collected(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """All topics, now."""
    return {name: collect(gateway) for name, (_every_s, collect) in TOPICS.items()}

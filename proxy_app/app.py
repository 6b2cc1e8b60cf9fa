"""The Flask application: `gunicorn -c proxy_app/gunicorn.conf.py 'proxy_app.app:create_app()'`."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from urllib.parse import quote

from flask import Flask, Response, g, request

from proxy_app import web
from proxy_app.api import (
    audio,
    errors,
    health,
    hosts,
    jobs,
    live,
    openai_v1,
    services,
    uploads,
    whisperx,
)
from proxy_app.api import (
    secrets as secrets_api,
)
from proxy_app.api.connection import ConnectionCare
from proxy_app.api.errors import ApiError, is_api
from proxy_app.config import Config, is_loopback, load_config
from proxy_app.gateway import EXTENSION, make_gateway

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """Make the application from settings in the environment (os.environ by default).

    Raises:
        SettingError: naming the variable, its value and what is expected instead.
    """
    config = load_config(os.environ if environ is None else environ)
    app = Flask(__name__, static_folder=None, template_folder="web/templates")
    app.extensions[EXTENSION] = make_gateway(config)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    # A path has one spelling: a redirect of //v1 or v1/ would lose the body of a POST.
    app.url_map.merge_slashes = False
    app.before_request(_name_request)
    app.before_request(lambda: _check_site(config))
    app.after_request(_add_headers)
    errors.init_app(app)
    uploads.init_app(app, config.max_upload_bytes)
    modules = (audio, health, hosts, jobs, live, openai_v1, secrets_api, services, whisperx)
    for module in modules:
        app.register_blueprint(module.bp)
    web.init_app(app)
    app.wsgi_app = ConnectionCare(  # type: ignore[method-assign]
        app.wsgi_app,
        body_timeout_s=config.body_timeout_s,
        body_bytes_per_s=config.body_bytes_per_s,
    )
    return app


def _name_request() -> None:
    """Take the client's x-request-id where it is harmless in a log, else make one."""
    # The path as the access log shows it: without the query, and never more than one line.
    request.environ["speech.path"] = quote(request.path)
    sent = request.headers.get("x-request-id", "")
    g.request_id = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)


def _check_site(config: Config) -> None:
    """Answer only to names of our own, and to no page of another site.

    DNS tricks can make a name of another site mean this machine, and any page can make a browser
    post a form to it.
    """
    host = request.environ.get("HTTP_HOST")
    # A load balancer's simple probe names no host; a browser always does.
    is_probe = host is None and request.path in ("/livez", "/readyz")
    if not is_probe and not _is_ours(host or "", config):
        raise ApiError(
            "The gateway does not answer to this host name. SPEECH_ALLOWED_HOSTS lists more.",
            status=421,
            code="unknown_host",
        )
    origin = request.headers.get("Origin")
    if origin is not None and not _is_ours(origin.partition("://")[2], config):
        raise ApiError(
            "Pages of other sites may not use the gateway.", status=403, code="foreign_origin"
        )


def _is_ours(authority: str, config: Config) -> bool:
    match = _HOST.fullmatch(authority)
    if match is None:
        return False
    host = match[1].strip("[]").lower().rstrip(".")
    return is_loopback(host) or host in config.names or (config.public and _is_address(host))


def _is_address(host: str) -> bool:
    return bool(re.fullmatch(r"[0-9.]+|[0-9a-f:.]*:[0-9a-f:.]*", host))


def _add_headers(response: Response) -> Response:
    response.headers["x-request-id"] = g.get("request_id", "")
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if is_api(request.path):
        response.headers.setdefault("Cache-Control", "no-store")
    return response

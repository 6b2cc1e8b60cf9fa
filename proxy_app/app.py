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
    asr,
    audio,
    audio_jobs,
    cross_origin,
    errors,
    guard,
    health,
    hosts,
    jobs,
    keys,
    live,
    metrics,
    openai_llm,
    openai_speech,
    openai_v1,
    openapi,
    services,
    uploads,
    whisperx,
)
from proxy_app.api import (
    secrets as secrets_api,
)
from proxy_app.api.connection import ConnectionCare
from proxy_app.api.proxies import TrustedProxies
from proxy_app.api.site import check_site
from proxy_app.config import load_config
from proxy_app.gateway import EXTENSION, current, make_gateway
from proxy_app.routing import state_of
from proxy_app.telemetry import Account
from proxy_app.telemetry.account import KEY
from proxy_app.web import login

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HEADERS = (
    (
        "content-security-policy",
        (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)


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
    app.before_request(lambda: check_site(config))
    cross_origin.init_app(app, config.origins)
    guard.init_app(app)
    app.after_request(_add_headers)
    errors.init_app(app)
    uploads.init_app(app, config.max_upload_bytes)
    for module in (
        asr, audio, audio_jobs, health, hosts, jobs, keys, live, login, metrics, openai_llm,
        openai_speech, openai_v1, openapi, secrets_api, services, whisperx,
    ):  # fmt: skip
        app.register_blueprint(module.bp)
    web.init_app(app)
    app.wsgi_app = ConnectionCare(  # type: ignore[method-assign]
        TrustedProxies(app.wsgi_app, config.proxies),
        body_timeout_s=config.body_timeout_s,
        body_bytes_per_s=config.body_bytes_per_s,
    )
    return app


def _name_request() -> None:
    """Take the client's x-request-id where it is harmless in a log, else make one."""
    sent = request.headers.get("x-request-id") or request.headers.get("x-client-request-id", "")
    g.request_id = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
    request.environ[KEY] = Account(
        current().metrics,
        g.request_id,
        request.method,
        # Without the query, and never more than one line.
        quote(request.path),
        request.url_rule.rule if request.url_rule else "none",
    )


def _add_headers(response: Response) -> Response:
    response.headers["x-request-id"] = g.get("request_id", "")
    if account := request.environ.get(KEY):
        response.headers["Server-Timing"] = account.timing()
        elapsed_ms = str(round(account.elapsed_s * 1000))
        response.headers.setdefault("openai-processing-ms", elapsed_ms)
    if served_by := response.headers.get("x-served-by"):
        states = (state_of(current(), name) for name in served_by.split("+"))
        response.headers["x-upstream-state"] = "+".join(states)
    known = {name.lower() for name, _ in response.headers}
    for name, value in _HEADERS:
        if name not in known and (name != "cache-control" or request.endpoint != "web.static"):
            response.headers.add(name, value)
    return response

"""Who may do what: everything but a few addresses is for who has the password.

It goes by the view that a request would reach, not by the spelling of its path, and what is not
listed as open is closed, unknown addresses too.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from urllib.parse import quote

from flask import Flask, current_app, g, redirect, request
from flask import Response as FlaskResponse
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.datastructures import Authorization
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.wrappers import Response

from proxy_app.access import RateError, TooManyTriesError
from proxy_app.access.keys import PREFIX, Key
from proxy_app.access.password import BrokenError
from proxy_app.api.errors import is_api
from proxy_app.api.proxies import FORWARDED
from proxy_app.api.refused_keys import missing_key, tried_too_often, wrong_key
from proxy_app.api.relay import LOOK_AGAIN
from proxy_app.api.site import check_origin, is_called_localhost
from proxy_app.config import Config
from proxy_app.errors import ApiError
from proxy_app.gateway import Gateway, current
from proxy_app.services import QueueFullError
from proxy_app.store import SchemaError
from proxy_app.telemetry.account import KEY

_OPEN = frozenset({"health.livez", "health.readyz", "login.login", "login.claim", "web.static"})
_OWN_TOKEN = frozenset({"login.login", "login.claim", "login.logout"})
"""Forms, which bring their token as a field: the views look at it."""
_FOR_KEYS = frozenset(
    {"asr", "audio_jobs", "openai_v1", "openai_llm", "openai_speech", "audio", "metrics"}
)
"""The blueprints that programs use with a key."""
_THEIRS = ("/v1/", "/asr/", "/metrics/")
"""Below these there is nothing else."""
_LISTS = frozenset({"/v1/models", "/v1/models/<path:model>", "/v1/audio/models",
                    "/v1/audio/voices"})  # fmt: skip
"""What SPEECH_OPEN_LISTS opens."""
_OTHERS = "sk-"
"""How keys of OpenAI and others begin: as a Bearer that is never tried as a password, which takes
half a second each time and is allowed a few times only."""
_SOON_S = 1.0
_LEFT_BEHIND_S = 0.5
"""How long a key's place is waited for: who has its answer's last byte may call again before the
place of that answer is free, which is at once, but in another worker."""
_CLAIM_LINK = "the link that `python -m proxy_app control claim` prints"
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})


def init_app(app: Flask) -> None:
    """Guard every request; `csrf_token()` and `can_log_out()` are for the pages."""
    app.before_request(_check)
    app.after_request(_let_go)
    app.context_processor(lambda: {"csrf_token": csrf_token, "can_log_out": can_log_out})


def cookie_name(config: Config) -> str:
    """Of the session's cookie: browsers do not tell two ports of a host apart."""
    return f"speech-{config.port}"


def session_token() -> str:
    """What the session's cookie holds, whether that is one or not."""
    return request.cookies.get(cookie_name(current().config), "")


def csrf_token() -> str:
    """What a page sends with every change: as x-csrf-token, or as a form's field csrf_token."""
    key = current().form_key
    return hmac.new(key, session_token().encode(errors="replace"), "sha256").hexdigest()


def can_log_out() -> bool:
    """Whether a password was given for this request, by a person."""
    return bool(g.get("by_session"))


def check_form(sent: str) -> None:
    """See that a change that a browser sends is one of our own pages'.

    Raises:
        ApiError: it is not (403).
    """
    if _is_browser() and not hmac.compare_digest(sent.encode(), csrf_token().encode()):
        raise ApiError(
            "This page is out of date: load it again. (A browser's changes need its x-csrf-token.)",
            status=403,
            code="csrf_token",
        )


def asked_by() -> str:
    """Who asks, in the words that jobs have for it."""
    return "the page" if _is_browser() else "the API"


def api_key() -> Key | None:
    """The key by which a program was let in; None for whoever has the whole house."""
    key: Key | None = g.get("api_key")
    return key


def _is_browser() -> bool:
    return (
        request.cookies.get(cookie_name(current().config)) is not None
        or "Origin" in request.headers
        or "Sec-Fetch-Site" in request.headers
    )


def still_admitted() -> Callable[[], bool]:
    """Whether this request would still be let in, for answers that go on: ask it now and then.

    A person's ends with the session, however that ended, and a program's with the password; where
    the database is away nothing is known, and nothing ends.
    """
    gateway, token = current(), session_token()
    let_in_by = gateway.password.fingerprint
    by_session = can_log_out()

    def look() -> bool:
        try:
            if gateway.password.fingerprint != let_in_by:
                return False
            return not by_session or gateway.sessions.is_open(token, let_in_by or "")
        except BrokenError:
            return False
        except (SQLAlchemyError, SchemaError):
            return True

    return look


def _check() -> Response | None:
    is_open = _is_open()
    # No browser sends a Bearer by itself: with one of our keys it is a program that asks, whatever
    # page it runs in, and no page of another site. Where that key is wrong nobody is let in.
    by_key = not is_open and _brings_bearer_key()
    if not by_key:
        check_origin(current().config)
    if not is_open and not _is_admitted():
        return _turn_away()
    if not by_key and request.method not in _HARMLESS and request.endpoint not in _OWN_TOKEN:
        check_form(request.headers.get("x-csrf-token", ""))
    return None


def _is_open() -> bool:
    if request.endpoint == "health.readyz" and request.args:
        return False  # a list of all services is nobody else's business
    rule = request.url_rule
    if current().config.open_lists and rule is not None and rule.rule in _LISTS:
        # Who brings a key goes by that key.
        return request.method in ("GET", "HEAD") and not _brings_bearer_key()
    return request.endpoint in _OPEN


def _is_admitted() -> bool:
    gateway = current()
    if sent := _sent_key():
        return _use_key(sent)
    fingerprint = gateway.password.fingerprint
    if fingerprint is None:
        return _is_local(gateway.config)
    token = session_token()
    g.by_session = bool(token) and gateway.sessions.is_open(token, fingerprint)
    return bool(g.by_session) or _has_password(request.authorization)


def _sent_key() -> str | None:
    """What looks like one of our keys: as OpenAI's clients send it, or as HTTP Basic's password."""
    sent = request.authorization
    given = sent and (sent.token if sent.type == "bearer" else sent.password)
    return given if given and given.startswith(PREFIX) else None


def _brings_bearer_key() -> bool:
    sent = request.authorization
    return sent is not None and sent.type == "bearer" and _sent_key() is not None


def _use_key(sent: str) -> bool:
    """Whether a key opens this; what it may do at most is counted until the answer's end.

    Raises:
        ApiError: it is no key, or one that has been revoked (401), or it is over a limit (429).
    """
    gateway = current()
    key = gateway.keys.find(sent)
    if key is None:
        raise wrong_key()
    g.api_key = key
    request.environ[LOOK_AGAIN] = partial(_look_again, gateway, sent)
    request.environ[KEY].key = key.name
    if not is_for_keys():
        return False
    gateway.rates.take(key)
    if key.max_in_flight is not None:
        most = key.max_in_flight
        # As many may wait as may be followed by one: others are over the limit in any case.
        place = gateway.places.hold(f"key {key.id}", most, _LEFT_BEHIND_S, most_waiting=most)
        try:
            g.key_place = ExitStack()
            g.key_place.enter_context(place)
        except QueueFullError:
            message = f"The key {key.name} has {key.max_in_flight} requests at the same time."
            raise RateError(message, _SOON_S) from None
    return True


def _look_again(gateway: Gateway, sent: str) -> ApiError | None:
    """What ends the work for a key that was let in, where it would not be now."""
    try:
        return None if gateway.keys.find(sent) else wrong_key()
    except (SQLAlchemyError, SchemaError):
        return None  # nothing is known


def is_for_keys() -> bool:
    """Whether programs may use it with a key: not what looks after the house."""
    if request.endpoint is not None:
        return request.blueprint in _FOR_KEYS
    if request.path.startswith(_THEIRS):
        return True  # there is nothing there, and they may know
    wrong = request.routing_exception
    methods = (wrong.valid_methods or ()) if isinstance(wrong, MethodNotAllowed) else ()
    adapter = current_app.create_url_adapter(request)
    assert adapter is not None, "it has matched the request's path"
    endpoints = [adapter.match(method=method)[0] for method in methods]
    return any(endpoint.partition(".")[0] in _FOR_KEYS for endpoint in endpoints)


def _let_go(response: FlaskResponse) -> FlaskResponse:
    """Hold a key's place until the answer has been sent."""
    if "key_place" in g:
        response.call_on_close(g.pop("key_place").close)
    return response


def _is_local(config: Config) -> bool:
    """Whether only this machine's user can be asking.

    A proxy, or a container's published port, would make everybody look like that. A proxy need not
    say that it is one: nginx sends neither a mark nor the name it was called by, unless it is told
    to. Before its version 1.29.7 it speaks HTTP/1.0, which no browser does; of a later one
    SPEECH_PASSWORD_REQUIRED has to tell.
    """
    is_old = request.environ.get("SERVER_PROTOCOL") in ("HTTP/1.0", "HTTP/0.9")
    is_forwarded = is_old or request.environ.get(FORWARDED)
    return not config.needs_password and not is_forwarded and is_called_localhost()


def _has_password(sent: Authorization | None) -> bool:
    """Whether a program brings the password: as HTTP Basic, or on /v1 where OpenAI's have a key.

    Raises:
        ApiError: on /v1, of what is wrong: in OpenAI's words, as it was meant for a key.
        TooManyTriesError, BusyError: as `try_password`.
    """
    if sent is None:
        return False
    given = sent.password if sent.type == "basic" else None
    if sent.type == "bearer" and is_for_keys():
        given = sent.token
    if not given:
        return False
    password = current().password
    if not is_for_keys():
        return password.remembers(given) or try_password(given)
    if sent.type == "bearer" and (given.startswith(_OTHERS) or password.cannot_be(given)):
        raise wrong_key()
    try:
        if password.remembers(given) or try_password(given):
            return True
    except TooManyTriesError as error:
        raise tried_too_often(error) from None
    raise wrong_key()


def try_password(given: str) -> bool:
    """Check a password, as often as that is allowed.

    Raises:
        TooManyTriesError: it was tried too often from there.
        BusyError: others are being checked.
    """
    gateway, address = current(), request.remote_addr or ""
    gateway.throttle.admit(address)
    is_right = gateway.password.check(given)
    if is_right:
        gateway.throttle.forgive(address)
    return is_right


def _turn_away() -> Response:
    password = current().password
    is_unset = password.fingerprint is None
    if is_for_keys() and not (is_unset and password.claim_token is None):
        unset = f" Nobody has set the gateway's password yet: open {_CLAIM_LINK}."
        raise missing_key(unset if is_unset else "")
    if not is_unset:
        page, message = "login", "Log in first, or send the password (HTTP Basic)."
    elif password.claim_token is not None:
        page, message = "claim", f"Nobody has set the password yet: open {_CLAIM_LINK}."
    else:
        raise ApiError(
            "Without a password the gateway answers on this machine alone, as localhost, by"
            " HTTP/1.1 and without a proxy: set SPEECH_ADMIN_PASSWORD_FILE, or open"
            f" {_CLAIM_LINK}.",
            status=403,
            code="password_needed",
        )
    # A script that is sent to the login would take its page for the answer.
    of_script = request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate"
    if is_api(request.path) or of_script or request.method not in ("GET", "HEAD"):
        # No challenge that browsers know: they would ask for a password in a window of their own.
        headers = {"WWW-Authenticate": 'Session realm="Spark Speech"'}
        raise ApiError(message, status=401, code="login_needed", headers=headers)
    query = request.query_string.decode("ascii", errors="replace")
    target = quote(request.path) + (f"?{query}" if query else "")
    wanted = f"?next={quote(target, safe='')}" if target != "/" and page == "login" else ""
    return redirect(f"/{page}{wanted}", 303)

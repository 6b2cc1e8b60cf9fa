"""The doors: log in, log out, and set the first password by the printed link."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from proxy_app.access import PasswordError, TooManyTriesError, UnclaimedError
from proxy_app.access.sessions import LONGEST_S
from proxy_app.api import guard
from proxy_app.errors import ApiError
from proxy_app.gateway import current

bp = Blueprint("login", __name__)

_FORM_BYTES = 8192


@bp.route("/login", methods=["GET", "POST"])
def login() -> AnyResponse:
    """Open a session with the password."""
    if request.method == "GET":
        return _page("login.html")
    try:
        given = _field("password")
        if not guard.try_password(given):
            return _page("login.html", "That is not the password.", 401)
    except TooManyTriesError as error:
        minutes = round(error.wait_s / 60) or 1
        answer = _page("login.html", f"Too many tries: wait {minutes} min.", 429)
        answer.headers["Retry-After"] = str(round(error.wait_s))
        return answer
    except ApiError as error:
        return _page("login.html", error.message, error.status)
    return _entered(_target())


@bp.route("/claim", methods=["GET", "POST"])
def claim() -> AnyResponse:
    """Set the first password: whoever has the printed link may."""
    if request.method == "GET":
        return _page("claim.html")
    try:
        password = _field("password")
        if password != _field("again"):
            return _page("claim.html", "The two are not the same.", 400)
        current().password.claim(_field("token"), password)
    except PasswordError as error:
        return _page("claim.html", f"That cannot be the password: {error}.", 400)
    except UnclaimedError:
        return _page("claim.html", "This link is not the printed one, or was used.", 403)
    except ApiError as error:
        return _page("claim.html", error.message, error.status)
    return _entered("/")


@bp.post("/logout")
def logout() -> AnyResponse:
    """End the session."""
    guard.check_form(_field("csrf_token") or request.headers.get("x-csrf-token", ""))
    gateway = current()
    gateway.sessions.close(guard.session_token())
    answer = redirect("/login", 303)
    answer.delete_cookie(guard.cookie_name(gateway.config))
    return answer


def _entered(target: str) -> AnyResponse:
    gateway = current()
    fingerprint = gateway.password.fingerprint
    assert fingerprint is not None
    answer = redirect(target, 303)
    answer.set_cookie(
        guard.cookie_name(gateway.config),
        gateway.sessions.open(fingerprint),
        max_age=int(LONGEST_S),
        secure=request.is_secure,
        httponly=True,
        samesite="Strict",
    )
    return answer


def _field(name: str) -> str:
    """A field of the form, whose token is looked at first."""
    request.max_content_length = request.max_form_memory_size = _FORM_BYTES
    if request.endpoint != "login.logout":
        guard.check_form(request.form.get("csrf_token", ""))
    return request.form.get(name, "")


def _target() -> str:
    """Where to go on: an address of this gateway's, whatever the link says."""
    wanted = request.values.get("next", "")
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if is_ours and wanted.isprintable() else "/"


def _page(template: str, error: str = "", status: int = 200) -> Response:
    gateway = current()
    page = render_template(
        template,
        error=error,
        target=_target(),
        token=request.values.get("token", ""),
        is_claimed=gateway.password.fingerprint is not None,
    )
    return make_response(page, status)

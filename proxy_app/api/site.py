"""Under which names the gateway answers, and to which pages."""

from __future__ import annotations

import re

from flask import request

from proxy_app.config import Config, is_loopback
from proxy_app.errors import ApiError

_AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_ADDRESS = re.compile(r"[0-9.]+|[0-9a-f:.]*:[0-9a-f:.]*")


def check_site(config: Config) -> None:
    """Answer only to names of our own: DNS tricks can make another site's mean this machine.

    Raises:
        ApiError: the request's Host is not ours (421).
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


def check_origin(config: Config) -> None:
    """Answer to no page of another site: any page can make a browser post a form to this machine.

    Raises:
        ApiError: the request's Origin is not ours (403).
    """
    origin = request.headers.get("Origin")
    if origin is not None and not _is_ours(origin.partition("://")[2], config):
        raise ApiError(
            "Pages of other sites may not use the gateway without one of its API keys, sent as"
            " `Authorization: Bearer KEY`.",
            status=403,
            code="foreign_origin",
        )


def is_called_localhost() -> bool:
    """Whether the request names this machine, as only somebody on it can."""
    host = _host(request.environ.get("HTTP_HOST", ""))
    return host is not None and is_loopback(host)


def _is_ours(authority: str, config: Config) -> bool:
    host = _host(authority)
    if host is None:
        return False
    is_address = _ADDRESS.fullmatch(host) is not None
    return is_loopback(host) or host in config.names or (config.public and is_address)


def _host(authority: str) -> str | None:
    """The name or address in a Host header, in lower case; None where it is malformed."""
    match = _AUTHORITY.fullmatch(authority)
    return match[1].strip("[]").lower().rstrip(".") if match else None

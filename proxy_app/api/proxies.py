"""Who really asks, where a reverse proxy is in front."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FORWARDED = "speech.forwarded"
"""In the environment: the request came through somebody, whom we may trust or not."""
_MARKS = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP", "HTTP_CF_CONNECTING_IP",
          "HTTP_TRUE_CLIENT_IP", "HTTP_X_CLIENT_IP")  # fmt: skip

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """WSGI middleware: believes X-Forwarded-For, -Proto and -Host of the proxies that are listed.

    Whatever anybody else says there changes nothing, but for that it does not come from this
    machine's user.
    """

    def __init__(self, app: WSGIApplication, networks: Sequence[Network]) -> None:
        self._app = app
        self._believing = ProxyFix(app, x_for=1, x_proto=1, x_host=1)
        self._networks = networks

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        environ[FORWARDED] = any(
            name in _MARKS or name.startswith("HTTP_X_FORWARDED") for name in environ
        )
        is_listed = self._is_listed(environ.get("REMOTE_ADDR", ""))
        return (self._believing if is_listed else self._app)(environ, start_response)

    def _is_listed(self, peer: str) -> bool:
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

"""The origins of pages, as settings list them and as browsers send them."""

from __future__ import annotations

from urllib.parse import urlsplit

from proxy_app.config.addresses import bracketed, is_host
from proxy_app.web_targets import entries

ANY = "*"
_PORTS = {"https": 443, "http": 80}


def listed_origins(listed: str) -> frozenset[str]:
    """The origins of a list, each as a browser sends it; `ANY` alone where that is listed.

    Raises:
        ValueError: with an entry that no browser would ever send.
    """
    named = entries(listed)
    return frozenset([ANY]) if named == [ANY] else frozenset(map(_as_sent, named))


def _as_sent(text: str) -> str:
    """In lower case, and without the port that its scheme has anyway."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(text) from None
    usual = _PORTS.get(parts.scheme, 0)
    own = "" if port is None or port == usual else f":{port}"
    origin = f"{parts.scheme}://{bracketed(host)}{own}"
    # Whoever named more than that, a user or a path, if only a slash, named no origin.
    is_one = text.lower().removesuffix(f":{usual}") == origin
    if not parts.scheme or not is_host(host) or not is_one or port == 0:
        raise ValueError(text)
    return origin

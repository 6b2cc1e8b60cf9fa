"""Whom a URL reaches: what a list of hosts and a URL are compared by."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

Target = tuple[str, str, int]
"""The scheme, the host in lower case and without a dot at its end, the port."""
_PORTS = {"https": 443, "http": 80}


def target_of(parts: SplitResult) -> Target:
    """Whom a URL reaches.

    Raises:
        ValueError: it is none of http or https, or has no host or no port.
    """
    host, port = (parts.hostname or "").rstrip("."), parts.port
    if parts.scheme not in _PORTS or not host or port == 0:
        raise ValueError(parts.geturl())
    return parts.scheme, host, port or _PORTS[parts.scheme]


def listed_target(text: str) -> Target:
    """Whom an entry of a list means: a host, for https, or a URL without a path.

    Raises:
        ValueError: it is neither.
    """
    parts = urlsplit(text if "://" in text else f"https://{text}")
    is_more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if is_more or not parts.netloc.isprintable():
        raise ValueError(text)
    return target_of(parts)


def entries(listed: str) -> list[str]:
    """What is listed, separated by commas."""
    return [text.strip() for text in listed.split(",") if text.strip()]

"""Where webhooks may go: what is listed in SPEECH_WEBHOOK_HOSTS, and no link-local address."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

_LONGEST = 2000
_METADATA = (ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fd00:ec2::/32"))
_PORTS = {"https": 443, "http": 80}


class BadWebhookError(Exception):
    """That is no address for a webhook; the message says why."""


def check_webhook(url: str, listed: str) -> SplitResult:
    """See that an address may be told.

    Args:
        url: what the client sent.
        listed: SPEECH_WEBHOOK_HOSTS.

    Raises:
        BadWebhookError: it may not.
    """
    if not listed.strip():
        raise BadWebhookError("webhooks are not allowed here (SPEECH_WEBHOOK_HOSTS)")
    odd = len(url) > _LONGEST or not url.isprintable() or " " in url or "\\" in url
    try:
        parts = urlsplit(url)
        target = _target(parts)
    except ValueError:
        odd = True
    if odd or parts.username is not None or parts.fragment:
        raise BadWebhookError("it is no URL such as https://hooks.example.org/speech")
    if target not in {_target(urlsplit(_with_scheme(text))) for text in _texts(listed)}:
        raise BadWebhookError("its host is not listed in SPEECH_WEBHOOK_HOSTS")
    return parts


def address_of(parts: SplitResult) -> tuple[str, int]:
    """The address to connect to, looked up once: another answer to the same question is not heard.

    Raises:
        OSError: it has none.
        BadWebhookError: it has only such as machines and clouds keep for themselves.
    """
    _, host, port = _target(parts)
    for *_about, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        address = ipaddress.ip_address(str(found[0]).partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        is_odd = address.is_link_local or address.is_multicast or address.is_unspecified
        if not is_odd and not any(address in network for network in _METADATA):
            return str(found[0]), port
    raise BadWebhookError("it has no address that may be connected to")


def _texts(listed: str) -> list[str]:
    return [text.strip() for text in listed.split(",") if text.strip()]


def _with_scheme(text: str) -> str:
    return text if "://" in text else f"https://{text}"


def _target(parts: SplitResult) -> tuple[str, str, int]:
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in _PORTS or not host:
        raise ValueError(parts.scheme)
    return parts.scheme, host, parts.port or _PORTS[parts.scheme]

"""Where webhooks may go: what is listed in SPEECH_WEBHOOK_HOSTS, and no link-local address."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

from proxy_app.web_targets import entries, listed_target, target_of

_LONGEST = 2000
_METADATA = (ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fd00:ec2::/32"))
_ENDING_IN_IPV4 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
"""NAT64 (RFC 6052), and what was called IPv4-compatible (RFC 4291)."""
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
"""A site's own NAT64 (RFC 8215). Its prefix may be as long as it likes: 48, 56, 64 or 96 bits."""
_BYTES_OF_IPV4 = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))
"""Where it has its IPv4 address then; byte 8 is always 0 (RFC 6052)."""


class BadWebhookError(Exception):
    """That is no address for a webhook; the message says why."""


def check_webhook(url: str, listed: str) -> SplitResult:
    """See that an address may be told.

    Args:
        url: what the client sent.
        listed: SPEECH_WEBHOOK_HOSTS, which `load_config` has looked at.

    Raises:
        BadWebhookError: it may not.
    """
    if not listed.strip():
        raise BadWebhookError("webhooks are not allowed here (SPEECH_WEBHOOK_HOSTS)")
    is_plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    odd = len(url) > _LONGEST or not is_plain
    try:
        parts = urlsplit(url)
        target = target_of(parts)
    except ValueError:
        odd = True
    if odd or parts.username is not None or parts.fragment:
        raise BadWebhookError(
            "it is no URL such as https://hooks.example.org/speech, in ASCII (%C3%BC for ü)"
        )
    if target not in set(map(listed_target, entries(listed))):
        raise BadWebhookError("its host is not listed in SPEECH_WEBHOOK_HOSTS")
    return parts


def address_of(parts: SplitResult) -> tuple[str, int]:
    """The address to connect to, looked up once: another answer to the same question is not heard.

    Raises:
        OSError: it has none.
        BadWebhookError: it has only such as machines and clouds keep for themselves.
    """
    _, host, port = target_of(parts)
    for *_about, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        address = ipaddress.ip_address(str(found[0]).partition("%")[0])
        if not _is_refused(address):
            return str(found[0]), port
    raise BadWebhookError("it has no address that may be connected to")


def _is_refused(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it, or an IPv4 address that it stands for, is one of those."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if any(address in network for network in _ENDING_IN_IPV4):
            inner.append(_picked(address, _BYTES_OF_IPV4[-1]))
        if any(it is not None and _is_refused(it) for it in inner):
            return True
        if address in _NAT64_LOCAL:
            # Read in all four ways: in those that are wrong zeros, or a 224, would mean nothing.
            return any(_picked(address, places).is_link_local for places in _BYTES_OF_IPV4)
    is_odd = address.is_link_local or address.is_multicast or address.is_unspecified
    return is_odd or any(address in network for network in _METADATA)


def _picked(address: ipaddress.IPv6Address, places: tuple[int, ...]) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(bytes(address.packed[place] for place in places))

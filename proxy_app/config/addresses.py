"""Hosts and addresses as texts: which there are, which mean this machine, which may be named."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from functools import lru_cache

ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - names
"""And what each is called from this machine."""
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9_-]+)*"
)


def own_address(host: str) -> str | None:
    """This machine's address on the network that leads elsewhere; None without one.

    Args:
        host: 0.0.0.0 or ::, as it is listened on.
    """
    families = (socket.AF_INET,) if host == "0.0.0.0" else (socket.AF_INET6, socket.AF_INET)  # noqa: S104 - a name
    for family in families:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as route:
            # Nothing is sent; these addresses are for documentation (RFC 5737, RFC 3849).
            route.connect(("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 9))
            address: str = route.getsockname()[0]
            return address
    return None


@lru_cache(64)
def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine, and only this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """Whether a text is a host name or an address, without brackets and port."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True


def host_problem(text: str) -> str:
    """Why a text is no host of one's own network that can be connected to; empty if it is one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        # A name of digits and dots only is another spelling of an IP address (2130706433, 127.1).
        if not is_host(text) or re.fullmatch(r"[0-9.]+|0x[0-9a-f.x]+", text.lower()):
            return f"{text[:100]!r} is no host name"
        return ""
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return f"{text} is no address of a service"
    return ""


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host

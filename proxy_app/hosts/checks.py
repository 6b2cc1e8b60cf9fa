"""What people say of a host, checked at the door: it reaches ssh's command line and an inventory.

What is let through is a list of what is allowed. None of it can be an option, a template of
Ansible's, a pattern of hosts, or a second line of known_hosts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from proxy_app.config import host_problem
from proxy_app.hosts.own import PAGE
from proxy_app.jobs.forms import FormError
from proxy_app.jobs.kinds import KINDS

GROUPS = tuple(dict.fromkeys(kind.service for kind in KINDS.values() if kind.service))
"""The inventory's groups that a host can be in: one for each service that can be installed."""
# Names that mean something else in an inventory.
_TAKEN = {"all", "ungrouped", "control", "services", "localhost", PAGE, *GROUPS}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_LARGEST_PORT = 65535
_LONGEST_PASSWORD = 512


def name(text: str) -> str:
    """The name under which a host is shown and registered.

    Raises:
        FormError: it is none.
    """
    if not _NAME.fullmatch(text):
        raise FormError("name", "name: expected up to 40 small letters, digits and dashes.")
    if text in _TAKEN:
        raise FormError("name", f"name: {text} means something else in an inventory.")
    return text


def address(text: str) -> str:
    """A host name or an IP address, as known_hosts has it.

    Raises:
        FormError: it is none, or none that a host of one's own can have.
    """
    if problem := host_problem(text):
        raise FormError("address", f"address: {problem}.")
    return canonical(text)


def canonical(text: str) -> str:
    """An address in the one spelling that it has here; a host's name in small letters."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return text.lower()
    return str(getattr(found, "ipv4_mapped", None) or found)


def port(number: int) -> int:
    """Where sshd listens.

    Raises:
        FormError: it is no port.
    """
    if not 1 <= number <= _LARGEST_PORT:
        raise FormError("port", f"port: expected 1 to {_LARGEST_PORT}.")
    return number


def user(text: str) -> str:
    """Who logs in.

    Raises:
        FormError: it is no user name.
    """
    if not _USER.fullmatch(text):
        raise FormError("user", "user: expected the name of a user there, such as spark.")
    return text


def fingerprint(text: str) -> str:
    """A host key's fingerprint, as ssh shows it.

    Raises:
        FormError: it is none.
    """
    if not _FINGERPRINT.fullmatch(text):
        raise FormError("fingerprint", "fingerprint: expected SHA256: and 43 characters.")
    return text


def groups(names: Sequence[object]) -> tuple[str, ...]:
    """The services that may be installed on a host.

    Raises:
        FormError: one of them is unknown.
    """
    known = tuple(group for group in GROUPS if group in names)
    if len(known) != len(names):
        raise FormError("groups", f"groups: expected some of {', '.join(GROUPS)}, each once.")
    return known


def password(text: str) -> str:
    """A password as it can be typed.

    Raises:
        FormError: it is none; the message has nothing of it.
    """
    if not text.isprintable() or not 0 < len(text) <= _LONGEST_PASSWORD:
        raise FormError(
            "password", f"password: expected 1 to {_LONGEST_PASSWORD} printable characters."
        )
    return text

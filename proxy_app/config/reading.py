"""The settings as a whole, read from the environment, and what is derived from them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from proxy_app.config.addresses import (
    ALL_ADDRESSES,
    bracketed,
    is_host,
    is_loopback,
    own_address,
)
from proxy_app.config.limits import Limits
from proxy_app.config.origins import listed_origins
from proxy_app.config.serving import Serving
from proxy_app.config.upstreams import Upstreams
from proxy_app.config.work import Work
from proxy_app.settings import SettingError, load
from proxy_app.web_targets import entries, listed_target

PREFIX = "SPEECH_"
_DATABASES = ("postgresql://", "sqlite:///")


# A dataclass has the fields of its last parent first: read from the right, they are in the order
# of docs/settings.md.
@dataclass(frozen=True)
class Config(Upstreams, Work, Limits, Serving):
    """What the gateway can be told. `load_config` fills it from the environment."""

    given: frozenset[str] = field(default=frozenset(), repr=False)
    """The names of the variables that are set; all others have their defaults."""

    @property
    def spool(self) -> Path:
        """Where uploads lie while they are in work."""
        return self.spool_dir or self.state_dir / "spool"

    @property
    def names(self) -> frozenset[str]:
        """The host names of `allowed_hosts`, in lower case, and addresses without brackets."""
        names = (name.strip(" []").lower().rstrip(".") for name in self.allowed_hosts.split(","))
        return frozenset(name for name in names if name)

    @property
    def origins(self) -> frozenset[str]:
        """The origins of `allowed_origins`, as browsers send them, or `*` alone."""
        return listed_origins(self.allowed_origins)

    @property
    def proxies(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The networks of `trusted_proxies`."""
        listed = (text.strip() for text in self.trusted_proxies.split(","))
        return tuple(ipaddress.ip_network(text) for text in listed if text)

    def time_limit_s(self, duration_s: float) -> float:
        """How long a service may have a recording of so many seconds, its own queue included."""
        work_s = max(self.time_limit_floor_s, self.time_limit_factor * duration_s)
        return self.queue_deadline_s + work_s

    @property
    def url(self) -> str:
        """Where the gateway is found from this machine."""
        host = ALL_ADDRESSES.get(self.host, self.host)
        scheme = "https" if self.tls_cert_path else "http"
        return f"{scheme}://{bracketed(host)}:{self.port}"

    @property
    def urls_elsewhere(self) -> list[str]:
        """Where other machines find it, if it listens on all addresses: under allowed names too."""
        if self.host not in ALL_ADDRESSES:
            return []
        address = own_address(self.host)
        named = (name for name in sorted(self.names) if not is_loopback(name))
        hosts = dict.fromkeys([*named, *([address] if address else [])])
        here, _, port = self.url.rpartition(":")
        return [f"{here.partition('://')[0]}://{bracketed(host)}:{port}" for host in hosts]

    @property
    def public(self) -> bool:
        """Whether the gateway listens on anything but loopback."""
        return not is_loopback(self.host)

    @property
    def needs_password(self) -> bool:
        """Whether it answers nobody without one."""
        return self.public or self.password_required


def load_config(environ: Mapping[str, str]) -> Config:
    """Read the settings.

    Raises:
        SettingError: naming the variable, its value and what is expected instead.
    """
    config = load(Config, environ, prefix=PREFIX)
    if (config.tls_cert_path is None) != (config.tls_key_path is None):
        raise SettingError("SPEECH_TLS_CERT_PATH and SPEECH_TLS_KEY_PATH: set both, or neither")
    if config.database_url and not config.database_url.startswith(_DATABASES):
        raise SettingError(f"SPEECH_DATABASE_URL: expected a URL with {' or '.join(_DATABASES)}")
    for name in config.names:
        if not is_host(name):
            raise SettingError(
                f"SPEECH_ALLOWED_HOSTS={config.allowed_hosts!r}: {name!r} is no host name; "
                "list names such as spark.local, separated by commas, without port or wildcard"
            )
    for entry in entries(config.webhook_hosts):
        if not _is_target(entry):
            raise SettingError(
                f"SPEECH_WEBHOOK_HOSTS={config.webhook_hosts!r}: {entry!r} is no host; list names "
                "such as hooks.example.org, or http://n8n.lan:5678, separated by commas, without "
                "path or wildcard"
            )
    try:
        listed_origins(config.allowed_origins)
    except ValueError as error:
        raise SettingError(
            f"SPEECH_ALLOWED_ORIGINS={config.allowed_origins!r}: {str(error)!r} is no origin; list "
            "what browsers send, such as https://notes.example or http://localhost:3000, separated "
            "by commas, without path or wildcard, or * alone"
        ) from None
    try:
        trusts_all = any(network.prefixlen == 0 for network in config.proxies)
    except ValueError:
        trusts_all = True
    if trusts_all:
        raise SettingError(
            f"SPEECH_TRUSTED_PROXIES={config.trusted_proxies!r}: list the proxies' own addresses "
            "or networks, such as 10.0.0.2 or 172.17.0.0/16, separated by commas"
        )
    return replace(
        config,
        given=frozenset(name.removesuffix("_FILE") for name in environ),
        whisperx_host=config.whisperx_host or config.spark2_host,
        whisperx_user=config.whisperx_user or config.spark2_user,
    )


def _is_target(entry: str) -> bool:
    try:
        _, host, _ = listed_target(entry)
    except ValueError:
        return False
    return is_host(host)

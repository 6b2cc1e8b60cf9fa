"""The gateway's settings, read once at start-up. docs/settings.md is generated from them."""

from proxy_app.config.addresses import bracketed, host_problem, is_host, is_loopback, own_address
from proxy_app.config.reading import PREFIX, Config, load_config
from proxy_app.config.starting import check_certificate, make_folders

__all__ = [
    "PREFIX",
    "Config",
    "bracketed",
    "check_certificate",
    "host_problem",
    "is_host",
    "is_loopback",
    "load_config",
    "make_folders",
    "own_address",
]

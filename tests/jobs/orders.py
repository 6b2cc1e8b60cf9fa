"""Orders as the desk makes them."""

from dataclasses import replace
from typing import Any

from proxy_app.jobs.ledger import HOST, SERVICE, Order

_INSTALL = Order(
    kind="whisperx.install", executor="playbook", host="spark1", service="whisperx",
    target="whisperx", lane=HOST, variables={}, limit_s=60.0, by="a test",
)  # fmt: skip


def an_order(**values: Any) -> Order:  # noqa: ANN401 - any field's
    """An install of WhisperX on spark1, but for what is given."""
    return replace(_INSTALL, **values)


def a_restart(service: str = "whisperx", host: str = "spark1") -> Order:
    return an_order(
        kind="service.restart", lane=SERVICE, service=service, target=service, host=host
    )

"""A service's key, which it may quote in what it says when something is wrong."""

from __future__ import annotations

from typing import Any

from proxy_app.services import Service

HIDDEN = "***"


def without_key(service: Service, told: Any) -> Any:  # noqa: ANN401 - JSON
    """The same JSON, whose texts and names do not have the service's own key.

    Raises:
        RecursionError: it is nested too deep.
    """
    return _without(service.api_key, told) if service.api_key else told


def _without(key: str, told: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(told, str):
        return told.replace(key, HIDDEN)
    if isinstance(told, dict):
        return {_without(key, name): _without(key, value) for name, value in told.items()}
    if isinstance(told, list):
        return [_without(key, value) for value in told]
    return told

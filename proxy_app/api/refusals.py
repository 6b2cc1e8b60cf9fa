"""A language model's refusals, with everything that OpenAI's have."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus

from proxy_app.errors import RETRY_SOON, ApiError
from proxy_app.upstreams.openai import Answer


def complete(answer: Answer) -> None:
    """Add what is missing to an error in OpenAI's shape; what is there stays as it is."""
    told = json.loads(answer.beginning)
    error = told["error"]
    kind = ApiError("", status=answer.status).type
    missing = {
        name: value
        for name, value in (("type", kind), ("param", None), ("code", None))
        if name not in error
    }
    if missing:
        answer.replace(json.dumps({**told, "error": {**error, **missing}}).encode())
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        answer.headers |= _when(answer.headers)


def _when(headers: Mapping[str, str]) -> Mapping[str, str]:
    """What is missing of when to come back: whole seconds, which all clients know."""
    told = {name.lower(): value for name, value in headers.items()}
    if "retry-after" in told:
        return {}
    if "retry-after-ms" not in told:
        return RETRY_SOON
    try:
        seconds = max(1, math.ceil(float(told["retry-after-ms"]) / 1000))
    except (ValueError, OverflowError):
        return {"Retry-After": RETRY_SOON["Retry-After"]}
    return {"Retry-After": str(seconds)}

"""Ask a service how it is, in the way of its API."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from proxy_app.services import Health, Service
from proxy_app.services.health import READY, SUSPECT, UNREACHABLE, WARMING
from proxy_app.upstreams.errors import TimeLimitError, UpstreamError
from proxy_app.upstreams.http import Client

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0
_PATHS = {
    "whisperx": "/health",
    "parakeet": "/health",
    "sortformer": "/v1/audio/diarize/health",
    "riva": "/v1/health/ready",
    "magpie": "/v1/health/ready",
    "openai": "/v1/models",
}
_LONGEST = 300
_MOST_MODELS = 1000
_ENORMOUS = 1e12


class Probe:
    """`probe(service)` asks; it never raises."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(self, service: Service) -> Health:
        """One GET, answered within TIMEOUT_S or counted as no answer."""
        if service.api == "espeak":
            return Health(READY, "Started for each text.", model="eSpeak NG")
        path = _PATHS[service.api]
        began = time.monotonic()
        try:
            status, answer = self._client.get(service, path, timeout_s=TIMEOUT_S)
        except TimeLimitError:
            # It is there, and may only be busy: what it is asked to do may still be done.
            return Health(SUSPECT, f"{path} gave no answer within {TIMEOUT_S:g} s.", is_silent=True)
        except UpstreamError as error:
            # A host that is off refuses nothing.
            is_silent = time.monotonic() - began >= TIMEOUT_S / 4
            return Health(UNREACHABLE, error.message, is_silent=is_silent)
        except Exception as error:  # noqa: BLE001 - one service must not hide the others
            # The error's text may quote what was sent, the key included.
            log.error("asking %s failed: %s", service.name, type(error).__name__)  # noqa: TRY400
            return Health(SUSPECT, f"{path} cannot be asked for: {type(error).__name__}.")
        read = _READ.get(service.api)
        return read(status, answer) if read else _plain(status, answer, path)


def _plain(status: int, answer: Any, path: str) -> Health:  # noqa: ANN401 - JSON from outside
    told = answer if isinstance(answer, Mapping) else {}
    detail = _word(told.get("detail"))
    if status == 200 and told.get("model_loaded") is False:  # noqa: PLR2004 - HTTP's own numbers
        state, detail = WARMING, detail or "Loading."
    elif status == 200:  # noqa: PLR2004
        state, detail = READY, detail or ""
    elif status == 503:  # noqa: PLR2004
        state, detail = WARMING, detail or f"{path} answers 503: it is loading, or it cannot."
    else:
        state, detail = SUSPECT, f"{path} answers {status}."
    return Health(
        state,
        detail,
        model=_word(told.get("model")),
        device=_word(told.get("device")),
        uptime_s=_number(told.get("uptime_s")),
        in_flight=_in_flight(told),
        queue=_queue(told),
        max_audio_s=_number(told.get("max_seconds")) or None,
        **_progress(told),
    )


def _whisperx(status: int, answer: Any) -> Health:  # noqa: ANN401 - JSON from outside
    if not isinstance(answer, Mapping) or "whisper_loaded" not in answer:
        return Health(SUSPECT, f"/health answers {status}, but not as a WhisperX server does.")
    loaded = {
        "Whisper": answer.get("whisper_loaded") is True,
        "the diarizer": answer.get("diarizer_loaded") is True,
    }
    detail = _word(answer.get("detail")) or ""
    missing = " and ".join(name for name, is_loaded in loaded.items() if not is_loaded)
    if status != 200:  # noqa: PLR2004
        state, detail = SUSPECT, detail or f"/health answers {status}."
    elif answer.get("status") == "unloaded":
        state, detail = READY, detail or "Idle: the next request loads the models and waits."
    elif missing:
        state, detail = WARMING, detail or f"Loading: waiting for {missing}."
    else:
        state = READY
    return Health(
        state,
        detail,
        model=_word(answer.get("model")),
        diarizer=_word(answer.get("diarizer")),
        device=_word(answer.get("device")),
        uptime_s=_number(answer.get("uptime_s")),
        in_flight=_in_flight(answer) or 0,
        queue=_queue(answer),
        **_progress(answer),
    )


def _openai(status: int, answer: Any) -> Health:  # noqa: ANN401 - JSON from outside
    health = _plain(status, answer, _PATHS["openai"])
    listed = answer.get("data") if isinstance(answer, Mapping) else None
    if not health.ready or not isinstance(listed, list):
        return health
    ids = (_word(it.get("id")) for it in listed[:_MOST_MODELS] if isinstance(it, Mapping))
    models = tuple(dict.fromkeys(found for found in ids if found))
    return replace(health, model=models[0] if len(models) == 1 else None, models=models)


def _in_flight(told: Mapping[str, Any]) -> int | None:
    """How many requests it has; the diarizer says whether it has one, and how many wait."""
    if isinstance(told.get("busy"), bool):
        return int(told["busy"]) + int(_number(told.get("waiting")) or 0)
    count = _number(told.get("in_flight"))
    return None if count is None else int(count)


def _queue(told: Mapping[str, Any]) -> int | None:
    """How many requests it lets wait beside the one that it works on."""
    count = _number(told.get("queue"))
    return None if count is None else int(count)


def _progress(told: Mapping[str, Any]) -> dict[str, Any]:
    """How far its work is: `steps` of our servers, seconds of the diarizer's recording.

    A diarizer that looks at a whole recording at once says 0 until it is done: that tells nothing.
    """
    if "progress" in told:
        at_work = told["progress"] if isinstance(told["progress"], Mapping) else {}
        return {"tells_progress": True, "progress": _number(at_work.get("steps"))}
    at_work = told["work"] if isinstance(told.get("work"), Mapping) else {}
    done_s = _number(at_work.get("done_s")) or None
    return {"tells_progress": done_s is not None, "progress": done_s}


def _word(value: object) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    """A count or a time; NaN and the like are none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _ENORMOUS:
        return float(value)
    return None


_READ: Mapping[str, Callable[[int, Any], Health]] = {"whisperx": _whisperx, "openai": _openai}
"""What a service's answer means, by its API; that of the others is plain."""

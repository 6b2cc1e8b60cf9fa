"""How a job is told: to those who ask, and to webhooks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from proxy_app.errors import ApiError
from proxy_app.store import AudioJob

_ERROR = ("message", "status", "code", "param", "headers", "more")


def shown(job: AudioJob) -> dict[str, Any]:
    """A job as JSON has it. Times are RFC 3339 in UTC, `progress` is in seconds of recording."""
    error = job.error and {name: job.error.get(name) for name in ("message", "code", "param")}
    return {
        "id": job.id,
        "object": "audio.job",
        "status": job.state,
        "progress": {"stage": job.stage, "done_s": job.done_s, "total_s": job.total_s},
        "model": job.asked.get("model", ""),
        "response_format": job.asked.get("format", "json"),
        "served_by": job.service or None,
        "error": error or None,
        "created_at": _text(job.created_at),
        "started_at": _text(job.started_at),
        "finished_at": _text(job.finished_at),
        "url": f"/v1/audio/jobs/{job.id}",
        "result": f"/v1/audio/jobs/{job.id}/result",
    }


def kept(error: ApiError) -> dict[str, Any]:
    """An error as it is written down."""
    return {name: getattr(error, name) for name in _ERROR}


def raised(kept_: dict[str, Any]) -> ApiError:
    """The error that was written down."""
    return ApiError(**{name: kept_[name] for name in _ERROR})


def _text(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")

"""What the client is told of anything that can go wrong."""

from __future__ import annotations

import errno
import logging
import math
import sqlite3
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from proxy_app.access import BrokenError, BusyError, RateError, TooManyTriesError
from proxy_app.audio import AudioError
from proxy_app.audio_jobs.ledger import NoAudioJobError, TooManyJobsError
from proxy_app.errors import DO_NOT_RETRY, RETRY_IN_A_MINUTE, RETRY_SOON, ApiError, BadRequestError
from proxy_app.hosts.own import OwnHostsError
from proxy_app.hosts.ssh import UnusableError
from proxy_app.jobs import ActiveJobError, NoJobError
from proxy_app.jobs.forms import FormError
from proxy_app.jobs.project import ProjectError
from proxy_app.jobs.watching import TooManyWatchersError
from proxy_app.services import QueueFullError
from proxy_app.store import SchemaError
from proxy_app.upstreams import (
    MisconfiguredError,
    RejectedContentError,
    RejectedError,
    TimeLimitError,
    UnavailableError,
    UpstreamError,
)

log = logging.getLogger(__name__)

_TOO_MANY = 429


def as_api_error(error: Exception) -> ApiError:
    """What the client is told of anything that went wrong; the log is told the rest."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _of_full_disk()
    for kind, translate in _TRANSLATIONS.items():
        if isinstance(error, kind):
            return translate(error)
    log.error("unexpected error", exc_info=error)
    return ApiError("Something went wrong inside the gateway; its log has the details.")


def _of_queue(error: QueueFullError) -> ApiError:
    why = f"no place became free within {error.waited_s:g} s"
    if error.is_line_full:
        why = "as many requests as may wait for it do already"
    # What is no service of that name has a blank in it, or nobody will ever see this.
    served_by = {} if " " in error.name else {"x-served-by": error.name}
    return ApiError(
        f"{error.name} is busy: {why}.",
        status=429,
        code="queue_full",
        headers=RETRY_SOON | served_by,
    )


def _of_upstream(error: UpstreamError) -> ApiError:
    if not isinstance(error, RejectedError):
        log.warning("%s", error)
    headers = {"x-served-by": error.service}
    if isinstance(error, RejectedError):
        if error.retry_after and error.retry_after.isdigit():
            headers["Retry-After"] = error.retry_after
        elif error.status == _TOO_MANY:
            headers |= RETRY_SOON
        if isinstance(error, RejectedContentError):
            headers |= DO_NOT_RETRY
        return ApiError(
            error.message,
            status=error.status,
            code=error.code or "upstream_rejected",
            param=error.param,
            headers=headers,
        )
    if isinstance(error, TimeLimitError):
        return ApiError(
            error.message, status=504, code="time_limit", headers=headers | DO_NOT_RETRY
        )
    if isinstance(error, MisconfiguredError):
        return ApiError(
            error.message, status=502, code="upstream_misconfigured", headers=headers | DO_NOT_RETRY
        )
    assert isinstance(error, UnavailableError), error
    message = f"{error.message} Try again in a minute."
    return ApiError(
        message, status=503, code="upstream_unavailable", headers=headers | RETRY_IN_A_MINUTE
    )


def _of_active_job(error: ActiveJobError) -> ApiError:
    job = error.job
    link = f"/api/jobs/{job.id}"
    return ApiError(
        f"Job {job.number} ({job.kind} on {job.host}) is {job.state}: follow it at {link}.",
        status=409,
        code="job_active",
        headers={"Location": link, **DO_NOT_RETRY},
        more={"job_id": job.id, "link": link},
    )


def _of_database(error: Exception) -> ApiError:
    if _is_full(getattr(error, "orig", None)):
        return _of_full_disk()
    # Its text may have the statement, and with it what was sent.
    log.error("the database: %s", getattr(error, "orig", None) or type(error).__name__)
    return ApiError(
        "The database of jobs does not answer; the gateway's log has the reason.",
        status=503,
        code="database_unavailable",
        headers=RETRY_SOON,
    )


def _is_full(cause: BaseException | None) -> bool:
    """Whether a database had no room: SQLite's file, or PostgreSQL's server (disk_full)."""
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return code == sqlite3.SQLITE_FULL or getattr(cause, "sqlstate", None) == "53100"


def _of_full_disk() -> ApiError:
    log.error("the disk of the spool folder or of the database is full")
    return ApiError(
        "The server's disk is full. Try again later.",
        status=507,
        code="storage_full",
        headers=RETRY_IN_A_MINUTE,
    )


_TRANSLATIONS: dict[type[Exception], Callable[[Any], ApiError]] = {
    AudioError: lambda e: ApiError(e.message, status=e.status, code=e.code, param="file"),
    UpstreamError: _of_upstream,
    QueueFullError: _of_queue,
    FormError: lambda e: BadRequestError(str(e), param=e.param),
    ActiveJobError: _of_active_job,
    NoJobError: lambda _: ApiError("There is no such job.", status=404, code="not_found"),
    NoAudioJobError: lambda _: ApiError("There is no such job.", status=404, code="not_found"),
    TooManyJobsError: lambda e: ApiError(
        f"{e}. Try again when some are done.",
        status=429,
        code="too_many_jobs",
        headers=RETRY_IN_A_MINUTE,
    ),
    ProjectError: lambda e: ApiError(str(e), status=503, code="playbooks_unavailable"),
    OwnHostsError: lambda e: ApiError(str(e), status=503, code="hosts_unavailable"),
    UnusableError: lambda e: ApiError(str(e), status=503, code="hosts_unavailable"),
    TooManyWatchersError: lambda _: ApiError(
        "Too many streams at the same time. Try again in a moment.",
        status=503,
        code="too_many_streams",
        headers=RETRY_SOON,
    ),
    RateError: lambda e: ApiError(
        f"{e} Try again in a moment.",
        status=429,
        code="rate_limit_exceeded",
        headers={"Retry-After": str(math.ceil(e.wait_s))},
    ),
    TooManyTriesError: lambda e: ApiError(
        "The password was tried too often from there.",
        status=429,
        code="too_many_tries",
        headers={"Retry-After": str(round(e.wait_s)), **DO_NOT_RETRY},
    ),
    BrokenError: lambda e: ApiError(
        str(e), status=503, code="password_broken", headers=DO_NOT_RETRY
    ),
    BusyError: lambda _: ApiError(
        "Too many log in at the same time. Try again in a moment.",
        status=503,
        code="busy",
        headers=RETRY_SOON,
    ),
    SQLAlchemyError: _of_database,
    SchemaError: _of_database,
}

"""The tables. A change here needs a migration, and tests compare the two."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import JSON, Double, Index, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ACTIVE = "state IN ('queued', 'running', 'canceling')"

AUDIO_ACTIVE = "state IN ('queued', 'running')"


class Base(DeclarativeBase):
    """Of all tables."""

    type_annotation_map: ClassVar = {float: Double}


def _one_active(name: str, *columns: str, lanes: str) -> Index:
    """At most one active job for these columns; both databases know partial indexes."""
    where = text(f"{ACTIVE} AND lane IN ({lanes})")
    return Index(name, *columns, unique=True, sqlite_where=where, postgresql_where=where)


class Job(Base):
    """One playbook, or one word to the supervisor: asked for, running or over. Times are Unix s."""

    __tablename__ = "jobs"

    number: Mapped[int] = mapped_column(primary_key=True)
    """For people, and the order in which jobs were asked for."""
    id: Mapped[str] = mapped_column(String(32), unique=True)
    kind: Mapped[str] = mapped_column(String(40))
    executor: Mapped[str] = mapped_column(String(16))
    host: Mapped[str] = mapped_column(String(253))
    service: Mapped[str] = mapped_column(String(63))
    target: Mapped[str] = mapped_column(String(63))
    """What it may not share with another job on that host: two services may have one container."""
    lane: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    preview: Mapped[bool]
    force: Mapped[bool] = mapped_column(default=False)
    """Whether a cancel may do without grace."""
    variables: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What the form gave; never a secret."""
    phases: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    """`{"name", "state", "started_at", "finished_at"}`, in order."""
    by: Mapped[str] = mapped_column(String(80))
    why: Mapped[str] = mapped_column(Text, default="")
    reason: Mapped[str] = mapped_column(Text, default="")
    """One sentence for people on how it ended, or is about to."""
    limit_s: Mapped[float]
    rerun_of: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]

    __table_args__ = (
        # A build takes a host, a service job the service alone: it goes beside another one's build.
        _one_active("jobs_one_per_host", "host", lanes="'host'"),
        _one_active("jobs_one_per_service", "host", "target", lanes="'host', 'service'"),
        _one_active("jobs_one_preview_per_host", "host", lanes="'preview'"),
        Index("jobs_by_state", "state"),
        # A number that was given once names that job for ever, also after it was removed.
        {"sqlite_autoincrement": True},
    )


class AudioJob(Base):
    """A recording that is transcribed without a client that waits. Times are Unix s."""

    __tablename__ = "audio_jobs"

    number: Mapped[int] = mapped_column(primary_key=True)
    """The order in which they were asked for."""
    id: Mapped[str] = mapped_column(String(32), unique=True)
    owner: Mapped[str] = mapped_column(String(32))
    """The API key's id; empty for whoever has the whole house."""
    name: Mapped[str] = mapped_column(String(64))
    """A hash of the owner and the Idempotency-Key, or of the owner and the content."""
    is_named: Mapped[bool]
    """Whether an Idempotency-Key was sent."""
    content: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    asked: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What proxy_app/audio_jobs/asked.py has."""
    webhook: Mapped[str | None] = mapped_column(Text)
    webhook_at: Mapped[float | None]
    """When its end is to be told next; None where it was, or is not to be."""
    webhook_tries: Mapped[int] = mapped_column(default=0)
    stage: Mapped[str] = mapped_column(String(40), default="waiting")
    done_s: Mapped[float] = mapped_column(default=0.0)
    total_s: Mapped[float] = mapped_column(default=0.0)
    tries: Mapped[int] = mapped_column(default=0)
    """How often it was begun; not those times that a stop of the process ended."""
    failures: Mapped[int] = mapped_column(default=0)
    """How often it failed after a service had worked on it, with what may pass."""
    waits: Mapped[int] = mapped_column(default=0)
    """Seconds for which no service could take it, those until it is due again included."""
    due_at: Mapped[float] = mapped_column(default=0.0)
    """Not to be begun before."""
    service: Mapped[str] = mapped_column(String(200), default="")
    """Who did it, as x-served-by names them."""
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]

    __table_args__ = (
        Index(
            "audio_jobs_one_active", "owner", "name", unique=True,
            sqlite_where=text(AUDIO_ACTIVE), postgresql_where=text(AUDIO_ACTIVE),
        ),
        Index("audio_jobs_by_state", "state"),
        {"sqlite_autoincrement": True},
    )  # fmt: skip


class HostState(Base):
    """How a host was when it was looked at last. Times are Unix s."""

    __tablename__ = "host_states"

    name: Mapped[str] = mapped_column(String(253), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    since: Mapped[float]
    at: Mapped[float]
    detail: Mapped[str] = mapped_column(Text)
    """Why it cannot be reached."""
    look: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """What the page shows; None while it cannot be reached."""
    history: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """`{"at", "cpu", "memory", "gpu"}`, the newest last; a bounded number."""


class ServiceState(Base):
    """How a service is, as the watch process found it last; only that process writes here."""

    __tablename__ = "service_states"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    since: Mapped[float]
    detail: Mapped[str] = mapped_column(Text, default="")
    checking: Mapped[bool] = mapped_column(default=False)
    """Whether a deep probe is under way."""
    last_check: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """`{"at", "ok", "took_s", "heard", "expected", "detail"}`."""
    known: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """What the next watch process has to know: `watched`, which service it was (condition.py), and
    of its container what watch/absence.py has."""


class ServiceRestart(Base):
    """One restart that counts in a service's budget."""

    __tablename__ = "service_restarts"

    number: Mapped[int] = mapped_column(primary_key=True)
    service: Mapped[str] = mapped_column(String(63))
    at: Mapped[float]
    """Wall time, for people alone: that clock may jump."""
    boot_id: Mapped[str] = mapped_column(String(36))
    monotonic: Mapped[float]
    """Seconds since that boot."""
    by: Mapped[str] = mapped_column(String(16))
    """"watch", or "docker" and "supervisor", which restart what ends by itself."""

    __table_args__ = (Index("service_restarts_by_service", "service"),)


class ServiceSetting(Base):
    """What a person has set on the page; installs leave it alone."""

    __tablename__ = "service_settings"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    auto_restart: Mapped[bool | None]
    """None: as it is registered."""
    removed: Mapped[str | None] = mapped_column(String(64))
    """The digest of the registration that is hidden; another registration is shown again."""


class ApiKey(Base):
    """A key of a program's. Times are Unix s."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    """The part of it that is no secret."""
    name: Mapped[str] = mapped_column(String(64), unique=True)
    hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the part that is."""
    created_at: Mapped[float]
    used_at: Mapped[float | None]
    max_in_flight: Mapped[int | None]
    per_minute: Mapped[int | None]


class LoginSession(Base):
    """Somebody who has given the password. Times are Unix s."""

    __tablename__ = "sessions"

    token: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of what is in the cookie."""
    password: Mapped[str] = mapped_column(String(64))
    """The fingerprint of the password that opened it: another password ends it."""
    created_at: Mapped[float]
    seen_at: Mapped[float]


class LoginTry(Base):
    """A try of the password, kept for minutes; `at` is Unix s."""

    __tablename__ = "login_tries"

    number: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(String(45))
    at: Mapped[float]

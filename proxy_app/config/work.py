"""The settings of the processes beside the gateway: of jobs, audio jobs, hosts and the watch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxy_app.settings import setting


@dataclass(frozen=True)
class Work:
    """What goes on without a client that waits: jobs, and the watch over hosts and services."""

    database_url: str | None = setting(
        None,
        "Database of jobs, postgresql://USER:PASSWORD@HOST/NAME; by default a file of SQLite in "
        "SPEECH_STATE_DIR. One control host has one.",
        secret=True,
    )
    inventory: Path | None = setting(  # noqa: RUF009 - a Path cannot change
        None, "Inventory of the playbooks that jobs run, a file or a folder; inventory/local if "
        "not set.",
    )  # fmt: skip
    project_dir: Path | None = setting(  # noqa: RUF009 - as above
        None, "Folder with the ansible.cfg, playbooks and collections that jobs run; by default "
        "the one that the gateway is in.",
    )  # fmt: skip
    jobs_at_once: int = setting(
        8,
        "Jobs that run at the same time: so many installs, as many restarts beside them, and as "
        "many previews.",
        minimum=1,
        maximum=64,
    )
    job_limit_s: float = setting(
        4 * 3600.0,
        "Seconds that an install, a patch or a change of model may take.",
        minimum=1,
        maximum=1e6,
    )
    service_job_limit_s: float = setting(
        3600.0,
        "Seconds that starting or stopping a service may take, the loading of its model included.",
        minimum=1,
        maximum=1e6,
    )
    keep_jobs: int = setting(500, "Jobs that are kept with their logs, the newest.", minimum=1)
    keep_jobs_days: float = setting(
        90.0, "Days after which a job and its log are removed.", minimum=0, maximum=1e5
    )
    audio_jobs_at_once: int = setting(
        2,
        "Audio jobs (POST /v1/audio/jobs) that are worked on at the same time.",
        minimum=1,
        maximum=64,
    )
    audio_jobs_queued: int = setting(
        500, "Audio jobs that may wait in all; more get 429.", minimum=1, maximum=100_000
    )
    audio_jobs_per_key: int = setting(
        100, "Audio jobs of one API key that may wait; more get 429.", minimum=1, maximum=100_000
    )
    keep_audio_jobs_h: float = setting(
        72.0, "Hours for which the result of an audio job is kept.", minimum=0, maximum=1e5
    )
    webhook_hosts: str = setting(
        "",
        "Where audio jobs may tell of their end, separated by commas: names for https, such as "
        "hooks.example.org, or with the scheme and the port, such as http://n8n.lan:5678. None "
        "by default.",
    )
    webhook_secret: str | None = setting(
        None,
        "Secret of 24 to 64 bytes with which webhooks are signed, as Standard Webhooks have it: "
        "base64 after whsec_; give it as a file.",
        secret=True,
    )
    hosts_every_s: float = setting(
        15.0, "Seconds between two looks at how a host is.", minimum=1, maximum=3600
    )
    engine_supervisor: Path | None = setting(  # noqa: RUF009 - as above
        None,
        "Socket of the supervisor that runs the embedded engine. `make up` sets it, so that the "
        "engine can be restarted like a container.",
    )

    probe_every_s: float = setting(
        300.0,
        "Seconds between two deep probes of a service: real speech, whose words are compared.",
        minimum=1,
        maximum=86_400,
    )
    probe_limit_s: float = setting(
        60.0, "Seconds that a deep probe may take.", minimum=0.1, maximum=3600
    )
    stuck_s: float = setting(
        120.0,
        "Seconds without progress after which a service that is at work is probed, and restarted "
        "where the probe fails.",
        minimum=1,
        maximum=86_400,
    )
    load_limit_s: float = setting(
        1800.0,
        "Seconds that a service may load before it counts as stuck; nothing is counted meanwhile.",
        minimum=1,
        maximum=86_400,
    )

"""What the page offers to do: WhisperX while it is not there, a diarizer for a Parakeet without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy_app.api import jobs as jobs_api
from proxy_app.gateway import Gateway
from proxy_app.jobs.kinds import KINDS
from proxy_app.jobs.ledger import NoJobError
from proxy_app.jobs.project import ProjectError
from proxy_app.store import Job

Data = Mapping[str, Any]

_INSTALL, _PATCH = "whisperx.install", "sortformer.patch"
LINKED = {_PATCH: ("sortformer_container", "sortformer_port")}
"""By kind: the fields that an offer's link to its form fills in, and no other link may."""


def offers(
    gateway: Gateway, services: Sequence[Data], hosts: Sequence[Data]
) -> list[dict[str, Any]]:
    """The banners, each a kind of job that can be ordered by one click.

    `variables` and `host` are what the click orders; `job` is the last one of that kind.
    """
    found = [_whisperx(gateway, services), *_sortformer(gateway, services, hosts)]
    return [offer for offer in found if offer is not None]


def _whisperx(gateway: Gateway, services: Sequence[Data]) -> dict[str, Any] | None:
    its = [it for it in services if it["api"] == "whisperx" and it["state"] != "absent"]
    if any(service["state"] == "ready" for service in its):
        return None
    job = _last(gateway, _INSTALL)
    if its and (job is None or job["over"]):
        return None  # it is there, and its card says what it lacks
    known, error = _hosts(gateway, _INSTALL)
    return {"kind": _INSTALL, "hosts": known, "error": error, "job": job, "variables": {}}


def _sortformer(
    gateway: Gateway, services: Sequence[Data], hosts: Sequence[Data]
) -> list[dict[str, Any]]:
    """One offer for each host that has a Parakeet and no diarizer in it."""
    known, error = _hosts(gateway, _PATCH)
    if error or not known:
        return []
    named = gateway.room.project.hosts().named
    patched = {named(it["host"]) for it in services if it["api"] == "sortformer"}
    found: dict[str, dict[str, Any]] = {}
    for host, variables in (*_registered(services), *_running(hosts)):
        name = named(host)
        if name in known and name not in patched:
            found.setdefault(name, variables)
    return [
        {
            "kind": _PATCH, "hosts": (name,), "error": None, "variables": variables,
            "job": _last(gateway, _PATCH, Job.host == name),
        }
        for name, variables in found.items()
    ]  # fmt: skip


def _registered(services: Sequence[Data]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (
            it["host"],
            {
                "sortformer_container": it["container"],
                "sortformer_port": int(it["base_url"].rpartition(":")[2]),
            },
        )
        for it in services
        if it["api"] == "parakeet" and it.get("container") and it["base_url"][-1].isdigit()
    ]


def _running(hosts: Sequence[Data]) -> list[tuple[str, dict[str, Any]]]:
    """Containers that look like Parakeet; the patch refuses one that is not."""
    return [
        (host["name"], {"sortformer_container": container["name"]})
        for host in hosts
        for container in host.get("containers") or ()
        if "parakeet" in f"{container['name']} {container.get('image', '')}".lower()
        and container.get("state", "running") == "running"
    ]


def _last(gateway: Gateway, kind: str, *where: Any) -> dict[str, Any] | None:  # noqa: ANN401 - SQLAlchemy's conditions
    try:
        job = gateway.room.jobs.last(Job.kind == kind, Job.preview.is_(False), *where)
    except NoJobError:
        return None
    return jobs_api.shown(job) if job else None


def _hosts(gateway: Gateway, kind: str) -> tuple[tuple[str, ...], str | None]:
    try:
        return gateway.room.desk.hosts_for(KINDS[kind]), None
    except ProjectError as error:
        return (), str(error)

"""Where jobs are asked for: what is wanted becomes an order that the ledger takes, or an error."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from proxy_app.config import Config
from proxy_app.hosts.own import OwnHosts
from proxy_app.jobs import forms
from proxy_app.jobs.forms import FormError
from proxy_app.jobs.kinds import INSTALLS, KINDS, PLAYBOOK, SUPERVISOR, Kind, target_of
from proxy_app.jobs.ledger import PREVIEW, SERVICE, Jobs, Order, done
from proxy_app.jobs.project import Project
from proxy_app.jobs.secrets import Secrets
from proxy_app.random_file import random_bytes
from proxy_app.services import Service
from proxy_app.store import Job, Store

_HEALTH = {
    "whisperx": ("/health", {"whisper_loaded": True, "diarizer_loaded": True}),
    "parakeet": ("/health", {}),
    "sortformer": ("/v1/audio/diarize/health", {}),
    "riva": ("/v1/health/ready", {}),
    "magpie": ("/v1/health/ready", {}),
    "openai": ("/v1/models", {}),
}
_LOOK_S = 0.02
VERBS = ("start", "stop", "restart")
EMBEDDED = "embedded engine"
"""What jobs call it, as no service can be called. An install of WhisperX works on another one."""


class Room:
    """What every process that has to do with jobs works with."""

    def __init__(self, config: Config) -> None:
        state = config.state_dir.resolve()
        self.config = config
        self.own_hosts = OwnHosts(state / "hosts", services=state / "services.d")
        self.project = Project(
            config.project_dir, config.inventory, self.own_hosts, state / "inventory-read.json"
        )
        self.store = Store(config.database_url, state)
        self.secrets = Secrets(state / "secrets")
        self.jobs = Jobs(self.store, state / "jobs")
        self.desk = Desk(self)

    def installation(self) -> str:
        """What tells this state folder from all others, also from a copy of it elsewhere."""
        path = self.config.state_dir / "installation"
        known = random_bytes(path) + str(path.stat().st_ino).encode()
        return hashlib.sha256(known).hexdigest()[:16]

    def close(self) -> None:
        """Close the connections to the database."""
        self.store.close()


class Desk:
    """Takes what people, programs and the watch process want done."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def order(
        self,
        kind_name: str,
        *,
        host: str | None = None,
        variables: Mapping[str, Any] | None = None,
        preview: bool = False,
        by: str = "the API",
        rerun_of: str | None = None,
    ) -> Job:
        """An install, a patch, a change of model, or the preview of one.

        Raises:
            FormError: the kind, the host or a variable is none that is known.
            ActiveJobError: another job has the host or the service.
            ProjectError: the inventory cannot be read.
        """
        kind = _kind(kind_name)
        given = forms.check(kind, variables or {}, self._room.project.root)
        with self._ordering():
            name = self._host(kind, host)
            before = self._before(kind, name) if kind.goes_on else {}
            return self._room.jobs.add(
                Order(
                    kind=kind.name,
                    executor=PLAYBOOK,
                    host=name,
                    service=kind.service,
                    target=target_of(kind.service),
                    lane=PREVIEW if preview else kind.lane,
                    variables={**before, **given},
                    limit_s=self._room.config.job_limit_s,
                    preview=preview,
                    by=by,
                    rerun_of=rerun_of,
                )
            )

    def switch(
        self,
        verb: str,
        service: Service,
        *,
        by: str = "the API",
        why: str = "",
        rerun_of: str | None = None,
    ) -> Job:
        """Start, stop or restart a registered service.

        Raises:
            FormError: it cannot be done to this service.
            ActiveJobError: another job works on the service.
            ProjectError: the inventory cannot be read.
        """
        assert verb in VERBS, verb
        embedded = service.is_embedded
        with self._ordering():
            host, name = self.place_of(service)
            return self._room.jobs.add(
                Order(
                    kind=f"service.{verb}",
                    executor=SUPERVISOR if embedded else PLAYBOOK,
                    host=host,
                    service=service.name,
                    target=name,
                    lane=SERVICE,
                    variables={} if embedded else _switch_variables(service, name, host),
                    limit_s=self._room.config.service_job_limit_s,
                    by=by,
                    why=why,
                    rerun_of=rerun_of,
                )
            )

    def rerun(self, job: Job, service: Service | None, *, by: str = "the API") -> Job:
        """The same once more; of a service job with the service as it is registered now.

        Raises:
            FormError: it cannot be done any more.
            ActiveJobError: another job has the host or the service, perhaps this very one.
            ProjectError: the inventory cannot be read.
        """
        if not job.kind.startswith("service."):
            # What it went on from is a part of its variables by now, and its own form has less.
            order = {name: getattr(job, name) for name in Order.__slots__}
            order |= {"by": by, "rerun_of": job.id, "why": ""}
            with self._ordering():
                self._host(_kind(job.kind), job.host)
                return self._room.jobs.add(Order(**order))
        if service is None:
            raise FormError("service", f"{job.service} is not registered any more.")
        verb = job.kind.partition(".")[2]
        return self.switch(verb, service, by=by, rerun_of=job.id)

    def no_orders(self) -> contextlib.AbstractContextManager[None]:
        """Keep all processes from asking for jobs, while a host is looked at and changed.

        An order looks its host up and asks under the same lock: it is there before, and refuses the
        change, or it comes after, and finds the host as it is then.
        """
        return self._locked(fcntl.LOCK_EX)

    def _ordering(self) -> contextlib.AbstractContextManager[None]:
        return self._locked(fcntl.LOCK_SH)

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with (self._room.config.state_dir / "orders.lock").open("w") as lock:
            while True:
                # Not by waiting in the kernel: who holds it may be another request of this worker.
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, how | fcntl.LOCK_NB)
                    break
                time.sleep(_LOOK_S)
            yield

    def place_of(self, service: Service) -> tuple[str, str]:
        """The inventory's name of a service's host, and what jobs call the service there.

        Raises:
            FormError: it has no container, or none that can be reached.
            ProjectError: the inventory cannot be read.
        """
        if service.is_embedded:
            return "localhost", EMBEDDED
        return self._host_of(service), target_of(_plain_name(service))

    def last_on(self, service: Service) -> Job | None:
        """The newest job on a service, whatever came of it; None if there never was one.

        Raises:
            FormError, ProjectError: as place_of.
        """
        host, target = self.place_of(service)
        return self._room.jobs.last(Job.host == host, Job.target == target, Job.lane != PREVIEW)

    def hosts_for(self, kind: Kind) -> tuple[str, ...]:
        """The hosts that a kind can be asked for on, as the inventory names them.

        Raises:
            ProjectError: the inventory cannot be read.
        """
        return self._room.project.hosts().groups.get(kind.service, ())

    def _host(self, kind: Kind, host: str | None) -> str:
        hosts = self.hosts_for(kind)
        if host is None and len(hosts) == 1:
            return hosts[0]
        if host not in hosts:
            known = ", ".join(hosts) or "none"
            raise FormError("host", f"expected a host of the inventory's group {kind.service}:"
                            f" {known}.")  # fmt: skip
        return host

    def _host_of(self, service: Service) -> str:
        if service.container is None:
            raise FormError("service", f"{service.name} has no container that could be switched.")
        host = self._room.project.hosts().named(service.host)
        if host is None:
            raise FormError("service", f"{service.name}: its host {service.host} is not in the"
                            " inventory.")  # fmt: skip
        return host

    def _before(self, kind: Kind, host: str) -> dict[str, Any]:
        """The variables of the last install of this service on this host, by the page."""
        last = self._room.jobs.last(done(INSTALLS), Job.service == kind.service, Job.host == host)
        return dict(last.variables) if last else {}


def _kind(name: str) -> Kind:
    kind = KINDS.get(name)
    if kind is None or kind.lane == SERVICE:
        known = ", ".join(kind.name for kind in KINDS.values() if kind.lane != SERVICE)
        raise FormError("kind", f"expected one of {known}.")
    return kind


def _plain_name(service: Service) -> str:
    """A service's name on its host: where several hosts have it, control adds the host's."""
    return service.name.removesuffix(suffix_of(service.host)) or service.name


def suffix_of(host: str) -> str:
    """What control adds to a service's name where several hosts have it."""
    return "-" + re.sub(r"[^a-z0-9-]", "-", host.lower())


def _switch_variables(service: Service, name: str, host: str) -> dict[str, Any]:
    path, expect = _HEALTH[service.api]
    return {
        "service_host": host,
        "managed_service_name": name,
        "managed_service_container": service.container,
        "managed_service_base_url": service.base_url,
        "managed_service_health_path": path,
        "managed_service_health_expect": expect,
        "managed_service_key": service.api_key_file is not None,
    }

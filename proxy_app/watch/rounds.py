"""All services watched side by side, a greenlet each, as they are registered now; and the hosts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial

import gevent
from gevent.event import Event
from sqlalchemy.exc import SQLAlchemyError

from proxy_app.config import Config
from proxy_app.hosts.metrics import Collector
from proxy_app.jobs.desk import Room
from proxy_app.services import Places, Registry, Removed, Reports, Service
from proxy_app.telemetry import Metrics, shared
from proxy_app.telemetry.of_watch import CountedProber, CountedRecords
from proxy_app.upstreams import Client, Probe
from proxy_app.watch import clocks
from proxy_app.watch.device import computes
from proxy_app.watch.probing import PROBE_HEADERS, Check, Prober
from proxy_app.watch.records import Records
from proxy_app.watch.standing import Hosts
from proxy_app.watch.watcher import Senses, Terms, Watcher

log = logging.getLogger(__name__)

_ROUND_S = 0.2
"""Between two looks at the notes of the gateway's workers."""
_REGISTRY_S = 0.5
_AFTER_ERROR_S = 2.0


class Watch:
    """Watches what is registered, until it is told to stop."""

    def __init__(self, config: Config) -> None:
        self._room = Room(config)
        self._registry = Registry(config)
        self._reports = Reports(config.state_dir / "reports")
        self._places = Places(config.state_dir / "places")
        self._records: Records = Records(self._room.store)
        self._removed = Removed(config.state_dir)
        client = Client(PROBE_HEADERS)
        self._probe = Probe(client)
        self._prober = Prober(client, config.probe_limit_s)
        self._check: Callable[[Service], Check] = self._prober
        self._hosts = Hosts(self._room)
        self._terms = Terms(config.probe_every_s, config.stuck_s, config.load_limit_s)
        self._ends = Event()
        self._greenlets: dict[Service, gevent.Greenlet[..., None]] = {}

    def stop(self, *_signal: object) -> None:
        """End; what is ordered goes on by itself."""
        # A signal comes in the hub, where nothing may wait.
        gevent.get_hub().loop.run_callback(self._ends.set)

    def _count(self) -> None:
        """Keep the metrics of what is found and done from now on."""
        shared.join(self._room.config.state_dir / "metrics", "watch")
        metrics = Metrics()
        self._check = CountedProber(self._prober, metrics)
        self._records = CountedRecords(self._room.store, metrics)

    def run(self) -> None:
        """Watch until `stop`. Another watch process ends first."""
        no_more_hosts = threading.Event()
        with self._reports.watching(lambda: not self._ends.is_set()) as is_ours:
            if is_ours:
                self._reports.withdraw()  # what the one before has left
            hosts = gevent.spawn(Collector(self._room).run, no_more_hosts) if is_ours else None
            if is_ours:
                self._count()
            while is_ours and not self._ends.wait(_REGISTRY_S):
                self._follow_registry()
            no_more_hosts.set()
            gevent.killall(list(self._greenlets.values()))
            gevent.joinall([hosts] if hosts else [])
        self._room.close()

    def _follow_registry(self) -> None:
        """Begin to watch what is new, and end what is gone or registered otherwise."""
        services = self._registry.read().services
        gone = [service for service in self._greenlets if service not in services]
        gevent.killall([self._greenlets.pop(service) for service in gone])
        new = [service for service in services if service not in self._greenlets]
        for service in new:
            self._greenlets[service] = gevent.spawn(self._watch, service)
        if not new and not gone:
            return
        try:
            self._removed.write(self._records.removed())
            self._records.forget_others([service.name for service in services])
        except (SQLAlchemyError, OSError) as error:
            log.warning("what is registered cannot be kept: %s", type(error).__name__)

    def _watch(self, service: Service) -> None:
        watcher: Watcher | None = None
        while True:
            try:
                names = partial(in_one_container, service, self._greenlets)
                watcher = watcher or Watcher(
                    service,
                    senses=Senses(
                        health=partial(self._probe, service),
                        check=partial(self._check, service),
                        standing=partial(self._hosts.standing, service),
                        in_use_s=partial(used_s, names, self._places),
                        computes=partial(
                            computes,
                            self._room.store,
                            self._room.project.hosts,
                            self._room.config.hosts_every_s,
                            service,
                        ),
                    ),
                    hands=self._room.desk,
                    names=names,
                    records=self._records,
                    reports=self._reports,
                    terms=self._terms,
                    now=clocks.now,
                )
                watcher.round()
            except SQLAlchemyError as error:
                # Its text may have what was sent.
                log.error("%s: the database: %s", service.name, type(error).__name__)  # noqa: TRY400
                self._rest(service, watcher)
            except Exception:
                log.exception("%s cannot be watched", service.name)
                self._rest(service, watcher)
            gevent.sleep(_ROUND_S)

    def _rest(self, service: Service, watcher: Watcher | None) -> None:
        """After an error: what was found before is no longer so."""
        if watcher:
            watcher.withdraw()
        else:
            self._reports.withdraw(service.name)
        gevent.sleep(_AFTER_ERROR_S)


def in_one_container(service: Service, services: Iterable[Service]) -> list[str]:
    """The names of a service, and of those that are restarted with it."""
    return [
        it.name for it in services
        if it == service or (it.container and _place(it) == _place(service))
    ]  # fmt: skip


def used_s(names: Callable[[], list[str]], places: Places) -> float | None:
    """For how long a request of ours has been in one of some services."""
    held = [seconds for name in names() if (seconds := places.held_s(name)) is not None]
    return max(held, default=None)


def _place(service: Service) -> tuple[str, str | None]:
    return service.host, service.container

"""The gateway's parts, made once per process and found from every view."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from flask import current_app
from gevent.lock import BoundedSemaphore

from proxy_app.access import Keys, Password, Rates, Sessions, Throttle
from proxy_app.access.start import form_key, password_of
from proxy_app.audio import DecodeLimits
from proxy_app.audio_jobs.ledger import AudioJobs
from proxy_app.config import Config
from proxy_app.jobs.desk import Room
from proxy_app.jobs.watching import Watches
from proxy_app.running import Running
from proxy_app.services import (
    HealthCache,
    Places,
    Registry,
    Removed,
    Reports,
    Service,
    Spool,
    Suspects,
)
from proxy_app.telemetry import Metrics
from proxy_app.upstreams import Client, OpenAI, Parakeet, Probe, SideBySide, Voices, WhisperX
from proxy_app.watch.records import Records

EXTENSION = "speech-gateway"
_QUEUES = {"whisperx": 32, "sortformer": 4}
"""How many a service of an API lets wait beside the one that it works on, unless it says it: these
are ours. Others are taken to do one thing at a time, and to fail at two."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the views work with. It holds nothing that must outlive the process."""

    config: Config
    registry: Registry
    health: HealthCache
    places: Places
    spool: Spool
    uploads: BoundedSemaphore
    """Bounds the uploads that this process takes at the same time, and so their files."""
    running: Running
    whisperx: WhisperX
    parakeet: Parakeet
    side_by_side: SideBySide
    llm: OpenAI
    voices: Voices
    decode_limits: DecodeLimits
    metrics: Metrics
    room: Room
    audio_jobs: AudioJobs
    watches: Watches
    reports: Reports
    suspects: Suspects
    records: Records
    removed: Removed
    password: Password
    sessions: Sessions
    throttle: Throttle
    keys: Keys
    rates: Rates
    form_key: bytes
    """What the tokens of pages and forms are made with."""

    @contextmanager
    def place(self, service: Service, *, goes_on: bool = False) -> Iterator[None]:
        """Wait for a place in a service, and hold it.

        Args:
            service: in which.
            goes_on: whether this is more of what had a place before, and is not sent away for
                others who wait.

        Raises:
            QueueFullError: none became free within SPEECH_QUEUE_DEADLINE_S, or SPEECH_WAITING
                wait already.
        """
        config = self.config
        place = self.places.hold(
            service.name,
            self.places_of(service),
            config.queue_deadline_s,
            most_waiting=None if goes_on else config.waiting,
        )
        with ExitStack() as held:
            with self.metrics.waiting(service.name):
                held.enter_context(place)
            yield

    def places_of(self, service: Service) -> int:
        """How many requests a service may have at once."""
        if service.places is not None:
            return service.places
        if service.kind == "tts":
            return self.config.voice_places
        if service.kind == "llm":
            return self.config.llm_places
        health = self.health.known(service)
        told = health.queue if health else None
        queue = _QUEUES.get(service.api, 0) if told is None else told
        return min(self.config.places, 1 + queue)


def make_gateway(config: Config) -> Gateway:
    """Build the parts; creates the state folders.

    Raises:
        SettingError: a service of the environment cannot be used.
        OSError: a folder cannot be made.
    """
    client = Client()
    parakeet = Parakeet(client)
    room = Room(config)
    reports = Reports(config.state_dir / "reports")
    return Gateway(
        config=config,
        registry=Registry(config),
        health=HealthCache(Probe(client)),
        places=Places(config.state_dir / "places"),
        spool=Spool(config.spool),
        uploads=BoundedSemaphore(config.max_uploads),
        running=Running(config.state_dir / "running", config.linger_s),
        whisperx=WhisperX(client),
        parakeet=parakeet,
        side_by_side=SideBySide(client, parakeet),
        llm=OpenAI(client),
        voices=Voices(client),
        decode_limits=DecodeLimits(
            max_audio_s=config.max_audio_s, memory_bytes=config.decode_memory_bytes
        ),
        metrics=Metrics(),
        room=room,
        audio_jobs=AudioJobs(room.store, config.state_dir.resolve() / "audio-jobs"),
        watches=Watches(room.jobs),
        reports=reports,
        suspects=Suspects(config.state_dir / "suspects", reports),
        records=Records(room.store),
        removed=Removed(config.state_dir),
        password=password_of(config),
        sessions=Sessions(room.store),
        throttle=Throttle(room.store),
        keys=Keys(room.store),
        rates=Rates(config.state_dir / "rates"),
        form_key=form_key(config),
    )


def current() -> Gateway:
    """The gateway of the application that handles this request."""
    gateway: Gateway = current_app.extensions[EXTENSION]
    return gateway

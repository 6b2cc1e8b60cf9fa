"""From an upload to a transcript: decode, wait for a place, ask the service."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from flask import request

from proxy_app.api.errors import RETRY_IN_A_MINUTE, ApiError
from proxy_app.api.relay import Relay, while_connected
from proxy_app.api.uploads import SpoolingRequest
from proxy_app.audio import copy_canonical, to_wav
from proxy_app.gateway import Gateway, current
from proxy_app.services import Service
from proxy_app.speech import Transcript
from proxy_app.upstreams import End, Event, Options

_DECODERS = len(os.sched_getaffinity(0))
DECODER = "the decoder"
"""Its places; with the blank, no service can be called so."""
SMALL_BYTES = 12_000_000
"""A minute of a CD's sound is smaller."""


@dataclass(frozen=True, slots=True)
class Served:
    """A transcript and who made it."""

    transcript: Transcript
    service: Service
    answer: dict[str, Any]
    """The service's own answer, for what a transcript has no place for."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A transcript that is being made, and who makes it."""

    events: Relay[Event]
    """To be closed by whoever reads it; the last event is an End."""
    service: Service


def transcribe(upload: Path, options: Options, *, speakers: bool) -> Served:
    """What was said, and by whom where that is asked for.

    Raises:
        ApiError, AudioError, QueueFullError, UpstreamError: each carries what the client gets.
    """
    gateway, service, wav = _start()

    def work() -> Served:
        with _turn(gateway, service, upload, wav) as (duration_s, limit_s):
            answer, transcript = gateway.whisperx.transcribe(
                service, wav, options, speakers=speakers, limit_s=limit_s
            )
        return Served(replace(transcript, duration=duration_s), service, answer)

    return while_connected(request.environ, work)


def follow(upload: Path, options: Options, *, speakers: bool) -> Followed:
    """The same as it becomes known; returns at once, and the first event may take minutes.

    Raises:
        ApiError: nobody can work on it; whatever else `transcribe` raises, the events do.
    """
    gateway, service, wav = _start()
    end_upload = cast(SpoolingRequest, request).end

    def work(put: Callable[[Event], None]) -> None:
        with (
            _turn(gateway, service, upload, wav) as (duration_s, limit_s),
            gateway.whisperx.follow(
                service, wav, options, speakers=speakers, limit_s=limit_s
            ) as events,
        ):
            for event in events:
                end_upload()  # the service has the recording
                put(_with_true_length(event, duration_s))

    return Followed(Relay(request.environ, work), service)


def _start() -> tuple[Gateway, Service, Path]:
    """Who is to work, and where its WAV will be; a file that nobody can work on is not decoded."""
    gateway = current()
    service = gateway.registry.read().first("speakers", "whisperx")
    if service is None:
        raise ApiError(
            "No speech service is registered. The gateway's page says how to register one.",
            status=503,
            code="no_service",
            headers=RETRY_IN_A_MINUTE,
        )
    return gateway, service, cast(SpoolingRequest, request).spool_path("audio.wav")


@contextmanager
def _turn(
    gateway: Gateway, service: Service, upload: Path, wav: Path
) -> Iterator[tuple[float, float]]:
    """Make the WAV and hold a place; the recording's length and the work's time limit, in s."""
    duration_s = _decode(gateway, upload, wav)
    config = gateway.config
    with gateway.places.hold(service.name, config.places, config.queue_deadline_s):
        yield duration_s, config.time_limit_s(duration_s)


def _decode(gateway: Gateway, upload: Path, wav: Path) -> float:
    """Make the service's WAV; return the true length.

    As many at once as there are processors, and as many small ones: those wait for no large one.
    """
    info = copy_canonical(upload, wav, gateway.decode_limits)
    if info is None:
        small = upload.stat().st_size <= SMALL_BYTES
        place = f"{DECODER} of small files" if small else DECODER
        with gateway.places.hold(place, _DECODERS, gateway.config.queue_deadline_s):
            info = to_wav(upload, wav, gateway.decode_limits)
    upload.unlink(missing_ok=True)  # the disk is needed, and the answer may take an hour
    return info.duration_s


def _with_true_length(event: Event, duration_s: float) -> Event:
    if isinstance(event, End):
        return replace(event, transcript=replace(event.transcript, duration=duration_s))
    return event

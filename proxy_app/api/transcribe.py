"""From an upload to a transcript: decode, wait for a place, ask the service."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from flask import request

from proxy_app.api.connection import while_connected
from proxy_app.api.errors import RETRY_IN_A_MINUTE, ApiError
from proxy_app.api.uploads import SpoolingRequest
from proxy_app.audio import copy_canonical, to_wav
from proxy_app.gateway import Gateway, current
from proxy_app.services import Service
from proxy_app.speech import Transcript
from proxy_app.upstreams import Options

T = TypeVar("T")

_DECODERS = os.cpu_count() or 1
DECODER = "the decoder"
"""Its places; with the blank, no service can be called so."""


@dataclass(frozen=True, slots=True)
class Served:
    """A transcript and who made it."""

    transcript: Transcript
    service: Service
    answer: dict[str, Any]
    """The service's own answer, for what a transcript has no place for; {} without speakers."""


def with_speakers(upload: Path, options: Options) -> Served:
    """Who said what.

    Raises:
        ApiError, AudioError, QueueFullError, UpstreamError: each carries what the client gets.
    """
    gateway = current()
    service = _service(gateway)

    def ask(wav: Path, limit_s: float) -> tuple[dict[str, Any], Transcript]:
        return gateway.whisperx.converse(service, wav, options, limit_s=limit_s)

    (answer, transcript), duration_s = _serve(gateway, service, upload, ask)
    return Served(replace(transcript, duration=duration_s), service, answer)


def without_speakers(upload: Path, options: Options) -> Served:
    """What was said.

    Raises:
        ApiError, AudioError, QueueFullError, UpstreamError: each carries what the client gets.
    """
    gateway = current()
    service = _service(gateway)

    def ask(wav: Path, limit_s: float) -> Transcript:
        return gateway.whisperx.transcribe(service, wav, options, limit_s=limit_s)

    transcript, duration_s = _serve(gateway, service, upload, ask)
    return Served(replace(transcript, duration=duration_s), service, {})


def _service(gateway: Gateway) -> Service:
    """The registered service for the work; a file that nobody can work on is not decoded."""
    service = gateway.registry.read().first("speakers", "whisperx")
    if service is None:
        raise ApiError(
            "No speech service is registered. The gateway's page says how to register one.",
            status=503,
            code="no_service",
            headers=RETRY_IN_A_MINUTE,
        )
    return service


def _serve(
    gateway: Gateway, service: Service, upload: Path, ask: Callable[[Path, float], T]
) -> tuple[T, float]:
    """Decode and ask, for as long as the client waits; also return the audio's length."""
    wav = cast(SpoolingRequest, request).spool_path("audio.wav")
    config = gateway.config

    def work() -> tuple[T, float]:
        duration_s = _decode(gateway, upload, wav)
        with gateway.places.hold(service.name, config.places, config.queue_deadline_s):
            limit_s = max(config.time_limit_floor_s, config.time_limit_factor * duration_s)
            return ask(wav, limit_s), duration_s

    return while_connected(request.environ, work)


def _decode(gateway: Gateway, upload: Path, wav: Path) -> float:
    """Make the service's WAV; return the true length. As many at once as there are processors."""
    info = copy_canonical(upload, wav, gateway.decode_limits)
    if info is None:
        with gateway.places.hold(DECODER, _DECODERS, gateway.config.queue_deadline_s):
            info = to_wav(upload, wav, gateway.decode_limits)
    upload.unlink(missing_ok=True)  # the disk is needed, and the answer may take an hour
    return info.duration_s

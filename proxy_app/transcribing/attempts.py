"""One recording's way to an answer: decoded, sent by the best route, else by the next."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import gevent

from proxy_app.audio import copy_canonical, to_wav
from proxy_app.gateway import Gateway
from proxy_app.routing import health_of, in_turn
from proxy_app.services import Alone, Pair, Route, Service, longest_s
from proxy_app.services.routes import PIECE_S
from proxy_app.telemetry import Cost
from proxy_app.upstreams import (
    End,
    MisconfiguredError,
    Options,
    Progress,
    Recording,
    RejectedAudioError,
    Tell,
    Terms,
    TimeLimitError,
    UnavailableError,
    UpstreamError,
)

log = logging.getLogger(__name__)

_DECODERS = len(os.sched_getaffinity(0))
DECODER = "the decoder"
"""Its places; with the blank, no service can be called so."""
SMALL_BYTES = 12_000_000
"""A minute of a CD's sound is smaller."""
_INTERNAL_ERROR = 500


class Attempts:
    """What is done for one request.

    Args:
        gateway: its parts.
        routes: the ways in which it can be done, the best first.
        options: what the client asked for.
        wav: where the decoded recording may be written.
        release: lets the request's files go.
        cost: is told what it costs.
        speakers: whether the client wants to know who speaks.
    """

    def __init__(
        self,
        gateway: Gateway,
        routes: tuple[Route, ...],
        options: Options,
        wav: Path,
        release: Callable[[], None],
        *,
        cost: Cost,
        speakers: bool,
    ) -> None:
        self._gateway = gateway
        self._routes = routes
        self._options = options
        self._wav = wav
        self._release = release
        self._cost = cost
        self._speakers = speakers
        self._content = ""
        self._told = False
        self.by = routes[0].name
        """The route that is at work, or was the last to be."""

    def run(self, upload: Path, tell: Tell | None) -> End:
        """Find out what was said.

        Args:
            upload: the file as it came; it is removed once it is decoded.
            tell: is given what becomes known on the way, where that is wanted. Once it was told a
                word no other route is tried: the client would read everything twice.

        Raises:
            ApiError, AudioError, QueueFullError, UpstreamError: each carries what the client gets.
        """
        # Where nobody can take it there is no need to decode it.
        self.by = next(in_turn(self._gateway, self._routes, 0.0)).name
        recording = Recording(self._wav, _decode(self._gateway, upload, self._wav))
        self._cost.audio_s = recording.duration_s
        failures: list[UpstreamError] = []
        for route in in_turn(self._gateway, self._routes, recording.duration_s):
            self.by = route.name
            try:
                end = self._try(route, recording, tell)
            except (UnavailableError, MisconfiguredError, TimeLimitError) as error:
                failures.append(self._noted(error, route))
                if self._told or isinstance(error, TimeLimitError):
                    break
                log.warning("%s failed: %s", route.name, error)
            else:
                for service in route.services:
                    self._answered(service)
                transcript = replace(end.transcript, duration=recording.duration_s)
                return replace(end, transcript=transcript)
        rejections = [error for error in failures if isinstance(error, RejectedAudioError)]
        raise (rejections or failures)[-1]

    def _try(self, route: Route, recording: Recording, tell: Tell | None) -> End:
        limit_s = self._gateway.config.time_limit_s(recording.duration_s)
        if isinstance(route, Alone):
            place = self._gateway.place(route.whisperx)
            with self._cost.at_service(route.name, place):
                return self._ask(route.whisperx, limit_s, tell)
        terms = self._terms(route, limit_s)
        # Their waits are beside one another's work: what is told of the two is one time.
        with self._cost.at_service(route.name, nullcontext()):
            return self._gateway.side_by_side.transcribe(
                route, recording, self._options, terms, tell or (lambda _event: None)
            )

    def _ask(self, service: Service, limit_s: float, tell: Tell | None) -> End:
        """Let a WhisperX server do it."""
        whisperx, options, speakers = self._gateway.whisperx, self._options, self._speakers
        if tell is None:
            answer, transcript = whisperx.transcribe(
                service, self._wav, options, speakers=speakers, limit_s=limit_s
            )
            return End(transcript, answer)
        with whisperx.follow(
            service, self._wav, options, speakers=speakers, limit_s=limit_s
        ) as events:
            for event in events:
                if not isinstance(event, Progress):
                    self._commit()
                if isinstance(event, End):
                    return event
                tell(event)
        raise AssertionError("the last event is an End")

    def _terms(self, pair: Pair, limit_s: float) -> Terms:
        models = {
            service.name: model
            for service in pair.services
            if (model := health_of(self._gateway, service).model)
        }
        piece_s = longest_s(pair.parakeet) or PIECE_S
        return Terms(piece_s, limit_s, self._gateway.place, models)

    def _commit(self) -> None:
        """Text is told: nobody else will need the recording, but its hash may be."""
        if not self._told:
            self._told = True
            self._content = self._hash()
            self._release()

    def _noted(
        self, error: UnavailableError | MisconfiguredError | TimeLimitError, route: Route
    ) -> UpstreamError:
        """Tell the others of a failure; the error for the client, who may be to blame."""
        service = next(service for service in route.services if service.name == error.service)
        self._gateway.health.forget(service)
        if isinstance(error, MisconfiguredError):
            return error
        status = error.status if isinstance(error, UnavailableError) else None
        self._gateway.reports.failed(service.name, status=status, reason=error.message)
        if status == _INTERNAL_ERROR:
            self._content = self._content or self._hash()
            if self._gateway.suspects.is_to_blame(service.name, self._content):
                return RejectedAudioError(service.name)
        return error

    def _answered(self, service: Service) -> None:
        """Tell the others of a good answer, which clears the recording of what it met before."""
        self._gateway.reports.answered(service.name)
        if self._gateway.suspects.has_any(service.name):
            self._content = self._content or self._hash()
            self._gateway.suspects.clear(service.name, self._content)

    def _hash(self) -> str:
        """SHA-256 of the decoded recording; in a thread, as a long one takes a second."""
        digest: str = gevent.get_hub().threadpool.apply(_sha256, (self._wav,))
        return digest


def _decode(gateway: Gateway, upload: Path, wav: Path) -> float:
    """Make the services' WAV; return the true length.

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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

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
from proxy_app.errors import ApiError
from proxy_app.gateway import Gateway
from proxy_app.routing import health_of, in_turn, joined
from proxy_app.services import (
    Alone,
    Pair,
    QueueFullError,
    Route,
    Service,
    Tiers,
    Words,
    each,
    longest_s,
)
from proxy_app.services.routes import PIECE_S
from proxy_app.telemetry import Cost
from proxy_app.upstreams import (
    End,
    Event,
    Hearing,
    MisconfiguredError,
    NoTimesError,
    Options,
    Progress,
    Recording,
    RejectedAudioError,
    RejectedError,
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
_TOO_MANY = 429


class Attempts:
    """What is done for one request.

    Args:
        gateway: its parts.
        tiers: the ways in which it can be done, at least one, the best first.
        options: what the client asked for.
        wav: where the decoded recording may be written.
        release: lets the request's files go.
        cost: is told what it costs.
        speakers: whether the client wants to know who speaks.
        is_read: whether somebody reads what is told on the way, and would read it twice if another
            route began anew.
    """

    def __init__(
        self,
        gateway: Gateway,
        tiers: Tiers[Route],
        options: Options,
        wav: Path,
        release: Callable[[], None],
        *,
        cost: Cost,
        speakers: bool,
        is_read: bool = True,
    ) -> None:
        self._gateway = gateway
        self._tiers = _by_times(gateway, tiers, options)
        self._options = options
        self._wav = wav
        self._release = release
        self._cost = cost
        self._speakers = speakers
        self._is_read = is_read
        self._content = ""
        self._told = False
        """Text was, which is read: no other route may begin."""
        self.by = each(tiers)[0].name
        """The route that is at work, or was the last to be."""

    def run(self, upload: Path, tell: Tell | None) -> End:
        """Find out what was said.

        Args:
            upload: the file as it came; it is removed once it is decoded.
            tell: is given what becomes known on the way, where that is wanted.

        Raises:
            ApiError, AudioError, QueueFullError, UpstreamError: each carries what the client gets.
        """
        # Where nobody can take it there is no need to decode it.
        self.by = next(in_turn(self._gateway, self._tiers, 0.0)).name
        recording = Recording(self._wav, decode(self._gateway, upload, self._wav))
        self._cost.audio_s = recording.duration_s
        failures: list[UpstreamError | QueueFullError] = []
        refusals: list[ApiError] = []
        full: type[Route] | None = None
        for route in in_turn(self._gateway, self._tiers, recording.duration_s, refusals):
            if full and not isinstance(route, full):
                continue  # it is to come back for what it asked for, not to get less at once
            self.by = route.name
            try:
                end = self._try(route, recording, tell)
            except (UnavailableError, MisconfiguredError, TimeLimitError) as error:
                failures.append(self._noted(error, route))
                if self._told or isinstance(error, TimeLimitError):
                    break
                log.warning("%s failed: %s", route.name, error)
            except (RejectedError, QueueFullError) as error:
                is_full = isinstance(error, RejectedError) and error.status == _TOO_MANY
                if self._told or not (is_full or _may_others(error)):
                    raise
                full = type(route) if is_full else full
                failures.append(error)
            else:
                for service in route.services:
                    self._answered(service)
                transcript = replace(end.transcript, duration=recording.duration_s)
                return replace(end, transcript=transcript)
        raise _worst(failures, refusals)

    def _try(self, route: Route, recording: Recording, tell: Tell | None) -> End:
        gateway, options = self._gateway, self._options
        limit_s = gateway.config.time_limit_s(recording.duration_s)
        if isinstance(route, Alone):
            place = gateway.place(route.whisperx)
            with self._cost.at_service(route.name, place):
                return self._ask(route.whisperx, limit_s, tell)
        piece_s = longest_s(route.parakeet) or PIECE_S
        hand_on = self._handing_on(tell)
        if isinstance(route, Words):
            service = route.parakeet
            model = self._models(route)[service.name]
            hearing = Hearing(piece_s, limit_s, options, options.times, model)
            with self._cost.at_service(route.name, gateway.place(service)):
                return gateway.parakeet.transcribe(service, recording, hearing, hand_on)
        terms = Terms(piece_s, limit_s, gateway.place, self._models(route))
        # Their waits are beside one another's work: what is told of the two is one time.
        with self._cost.at_service(route.name, nullcontext()):
            return gateway.side_by_side.transcribe(route, recording, options, terms, hand_on)

    def _handing_on(self, tell: Tell | None) -> Tell:
        """What events of a service are given that needs the recording to its end."""

        def hand_on(event: Event) -> None:
            if tell is not None:
                self._told = self._told or (self._is_read and not isinstance(event, Progress))
                tell(event)

        return hand_on

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

    def _models(self, route: Pair | Words) -> dict[str, str]:
        """What its services run, as far as anybody knows, by their names."""
        return {
            it.name: health_of(self._gateway, it).model or it.model or it.title
            for it in route.services
        }

    def _commit(self) -> None:
        """Text is told: if it is read nobody else will need the recording, but maybe its hash."""
        if self._is_read and not self._told:
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


def _by_times(gateway: Gateway, tiers: Tiers[Route], options: Options) -> Tiers[Route]:
    """The same; where times are needed those go last who have not told them."""

    def tells(route: Route) -> bool:
        return isinstance(route, Alone) or gateway.parakeet.tells(route.parakeet, options.times)

    told = (tuple(filter(tells, tier)) for tier in tiers)
    untold = (tuple(route for route in tier if not tells(route)) for tier in tiers)
    return tuple(tier for tier in (*told, *untold) if tier)


def _may_others(error: RejectedError | QueueFullError) -> bool:
    """Whether what one service refuses may be done by another one."""
    if isinstance(error, QueueFullError):
        return error.is_line_full
    # A model knows its languages, and another one may know more.
    return isinstance(error, NoTimesError) or error.code == "unsupported_language"


def _worst(failures: list[UpstreamError | QueueFullError], refusals: list[ApiError]) -> Exception:
    """What the client is told: that the recording is to blame, or what may pass, or the last."""
    blamed = [error for error in failures if isinstance(error, RejectedAudioError)]
    passing = [
        error
        for error in failures
        if not isinstance(error, RejectedError) or error.status == _TOO_MANY
    ]
    if blamed or passing:
        return (blamed or passing)[-1]
    return joined(refusals) if refusals else failures[-1]


def decode(gateway: Gateway, upload: Path, wav: Path, *, longest_s: float | None = None) -> float:
    """Make the services' WAV; return the true length.

    As many at once as there are processors, and as many small ones: those wait for no large one.

    Args:
        gateway: its limits and places.
        upload: the file as it came; it is removed.
        wav: where to.
        longest_s: how many seconds it may have, where that is less than for a recording.

    Raises:
        AudioError: what is wrong with it.
        QueueFullError: there was no place.
    """
    limits = gateway.decode_limits
    if longest_s is not None:
        limits = replace(limits, max_audio_s=min(longest_s, limits.max_audio_s))
    info = copy_canonical(upload, wav, limits)
    if info is None:
        small = upload.stat().st_size <= SMALL_BYTES
        place = f"{DECODER} of small files" if small else DECODER
        with gateway.places.hold(place, _DECODERS, gateway.config.queue_deadline_s):
            info = to_wav(upload, wav, limits)
    upload.unlink(missing_ok=True)  # the disk is needed, and the answer may take an hour
    return info.duration_s


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

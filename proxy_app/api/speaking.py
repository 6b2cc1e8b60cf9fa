"""Text to speech: one text's way through the services that can do it to sound."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import gevent

from proxy_app.api.voices import tts_model, voices
from proxy_app.api.wording import not_supported
from proxy_app.audio import wav
from proxy_app.audio.encode import Format, Sound, encoded, needs_encoder, silence, smooth
from proxy_app.errors import ApiError
from proxy_app.gateway import Gateway
from proxy_app.routing import in_turn
from proxy_app.services import ENCODERS, QueueFullError, Service, Speaking, Tiers
from proxy_app.services.registry import ESPEAK
from proxy_app.speech.aloud import is_speech
from proxy_app.speech.pieces import Piece, pieces
from proxy_app.speech.voices import OPENAI_VOICES, Voice
from proxy_app.telemetry import Account
from proxy_app.upstreams import (
    MisconfiguredError,
    RejectedError,
    RejectedTextError,
    TimeLimitError,
    UnavailableError,
    UpstreamError,
)
from proxy_app.upstreams.saying import NOTHING_S

log = logging.getLogger(__name__)

_PIECE_S = 12.0
"""As the estimate goes: Magpie's slowest voices take not more than its 20 s for it."""
_SILENT_RATE = 24_000
_ENCODER_WAIT_S = 30.0
_MOST_NAMED = 40
"""Voices that an error lists."""
_INTERNAL_ERROR = 500
_TOO_MANY = 429
_LONG_TEXT = 2000
"""Characters; cutting so many takes 20 ms at worst."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks for."""

    text: str
    """What is to be said, of `plain`'s."""
    model: str
    voice: str
    instructions: str
    format: Format
    speed: float


class Sink(Protocol):
    """Where sound goes."""

    told: bool
    """Whether the client has heard something of it, so that nobody else can begin anew."""

    def begin(self, rate: int) -> None:
        """A service begins to speak, perhaps after another one has failed."""

    def write(self, data: bytes) -> object:
        """Take what comes next."""

    def replace(self, file: bytes, /) -> None:
        """Take a whole WAV instead."""


class WavFile:
    """A WAV on disk, with true sizes once it is complete."""

    told = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rate = 0

    def begin(self, rate: int) -> None:
        """Forget what was there."""
        self._rate = rate
        self._file.seek(wav.HEADER_BYTES)
        self._file.truncate()

    def write(self, data: bytes) -> object:
        """Append samples."""
        return self._file.write(data)

    def replace(self, file: bytes) -> None:
        """Be another file."""
        self._rate = 0
        self._file.seek(0)
        self._file.truncate()
        self._file.write(file)

    def complete(self) -> None:
        """Write the header, unless it is there."""
        if self._rate:
            size = self._file.tell() - wav.HEADER_BYTES
            self._file.seek(0)
            self._file.write(wav.header(size, self._rate))


def aside(size: int, work: Callable[[], T]) -> T:
    """Do what takes as long as a text is: of a long one in a thread, so that others go on."""
    if size < _LONG_TEXT:
        return work()
    done: T = gevent.get_hub().threadpool.apply(work)
    return done


class Speech:
    """What is done for one request.

    Args:
        gateway: its parts.
        wanted: what the client asks for.
        account: is told what it costs.

    Raises:
        ApiError: no service has such a model.
    """

    def __init__(self, gateway: Gateway, wanted: Wanted, account: Account) -> None:
        self._gateway = gateway
        self._account = account
        self._wanted = wanted
        self._model = tts_model(gateway, wanted.model)
        self.by = ""
        """The service that is at work, or was the last to be; none where nothing is to be said."""
        self.voice = ""
        """Its voice."""

    def run(self, sink: Sink) -> None:
        """Say it.

        Args:
            sink: is given the sound as it is made, in the wanted format; of a wav its samples.

        Raises:
            ApiError, ChildError, QueueFullError, UpstreamError: each carries what the client gets.
        """
        text = self._wanted.text
        cut = aside(len(text), lambda: pieces(text, _PIECE_S))
        parts = [it for it in cut if is_speech(it.text)]
        if not parts:
            self._hand_on(sink, iter([silence(_SILENT_RATE, NOTHING_S)]))
            return
        self._say(parts, sink)

    @contextmanager
    def _encoder(self) -> Iterator[None]:
        """Be one of those who may have an encoder, for as long as the client reads.

        Raises:
            QueueFullError: too many have one, or wait for it.
        """
        config, wanted = self._gateway.config, self._wanted
        if not needs_encoder(wanted.format, wanted.speed):
            yield
            return
        # Who reads slowly holds it for long: it is not waited for as for a service.
        deadline_s = min(config.queue_deadline_s, _ENCODER_WAIT_S)
        place = self._gateway.places.hold(
            ENCODERS, config.voice_at_once, deadline_s, most_waiting=config.waiting
        )
        with ExitStack() as held:
            try:
                with self._gateway.metrics.waiting(ENCODERS):
                    held.enter_context(self._account.queued(place))
            except QueueFullError as error:
                self._account.refused_by = error.name
                raise
            yield

    def _say(self, parts: list[Piece], sink: Sink) -> None:
        """Let one service after another say it, until one has."""
        failures: list[UpstreamError | QueueFullError] = []
        without: list[Service] = []
        for route in in_turn(self._gateway, self._routes(), 0.0):
            self.by = route.name
            try:
                if self._try(route.service, parts, sink):
                    self._gateway.reports.answered(route.name)
                    return
                without.append(route.service)
            except (UnavailableError, MisconfiguredError, TimeLimitError) as error:
                failures.append(self._noted(error, route.service))
                log.warning("%s failed: %s", route.name, error)
                if sink.told or isinstance(error, TimeLimitError):
                    break
            except RejectedError as error:
                # Of a request that nobody may take another one does as little.
                if error.status != _TOO_MANY or sink.told:
                    raise
                failures.append(error)
            except QueueFullError as error:
                # Of encoders another service has no more.
                if not error.is_line_full or error.name == ENCODERS:
                    raise
                failures.append(error)
        rejections = [error for error in failures if isinstance(error, RejectedTextError)]
        raise (rejections or failures or [self._no_voice(without)])[-1]

    def _routes(self) -> Tiers[Speaking]:
        """All that may be asked, eSpeak NG last.

        Who has better voices does not want to hear eSpeak NG's for a minute, and clients keep what
        they once got: it is asked where nothing else is there, or where its own voice is wanted.
        """
        services = self._model.services
        if self._wanted.voice.lower() in OPENAI_VOICES:
            services = tuple(it for it in services if it.api != ESPEAK) or services
        tiers = (
            tuple(Speaking(it) for it in services if (it.api == ESPEAK) == is_last)
            for is_last in (False, True)
        )
        return tuple(tier for tier in tiers if tier)

    def _try(self, service: Service, parts: list[Piece], sink: Sink) -> bool:
        """Let a service say it; whether it has the voice."""
        adapter = self._gateway.voices.by(service)
        assert adapter is not None, "it was chosen for having one"
        wanted, language = self._wanted, self._gateway.config.voice_language
        is_general = wanted.voice.lower() in OPENAI_VOICES
        name = wanted.model if self._model.is_voice and is_general else wanted.voice
        voice = adapter.find(service, name, language)
        if voice is None:
            return False
        self.voice = voice.id
        with ExitStack() as place:
            # Nothing is begun before there is a place.
            place.enter_context(
                self._account.at_service(service.name, self._gateway.place(service))
            )
            sounds = self._sounds(service, voice, parts, place)
            if len(parts) == 1 and (wanted.format.name, wanted.speed) == ("wav", 1):
                sound = next(sounds)
                if sound.wav:
                    sink.replace(_true(sound))
                    return True
                sounds = iter([sound])
            said = zip(sounds, parts, strict=True)
            self._hand_on(sink, (smooth(sound, part.pause_s) for sound, part in said))
        return True

    def _sounds(
        self, service: Service, voice: Voice, parts: list[Piece], first: ExitStack
    ) -> Iterator[Sound]:
        """The pieces, each with a place of its own: none is held while a client reads.

        Args:
            service: says them.
            voice: with it.
            parts: what they are.
            first: holds the first one's place, and is closed when that is said.
        """
        rate = 0
        for number, part in enumerate(parts):
            place = self._gateway.place(service, goes_on=True)
            with self._account.at_service(service.name, place) if number else first:
                sound = self._gateway.voices.say(
                    service,
                    part.text,
                    voice,
                    instructions=self._wanted.instructions,
                    limit_s=self._gateway.config.time_limit_floor_s,
                )
            if not sound.samples or sound.rate != (rate := rate or sound.rate):
                raise UnavailableError(service.name, f"{service.title} gave no usable sound.")
            self._account.audio_s = (self._account.audio_s or 0.0) + sound.duration_s
            yield sound

    def _hand_on(self, sink: Sink, sounds: Iterator[Sound]) -> None:
        # Who waits for a service to begin has no encoder, so that one that hangs takes none from
        # others; and who waits for an encoder has no place in a service, which others go on with.
        first = next(sounds)
        with ExitStack() as held:
            held.enter_context(self._encoder())
            sink.begin(first.rate)
            data = encoded(
                chain([first], sounds), wanted=self._wanted.format, speed=self._wanted.speed
            )
            # Else its child is ended by the garbage collector, which logs what ends it: a client
            # that has hung up.
            held.enter_context(closing(data))
            for piece in data:
                if self._account.first_byte_s is None:
                    self._account.answer_began()
                sink.write(piece)

    def _noted(
        self, error: UnavailableError | MisconfiguredError | TimeLimitError, service: Service
    ) -> UpstreamError:
        """Tell the others of a failure; the error for the client, whose text may be to blame."""
        self._gateway.health.forget(service)
        if isinstance(error, MisconfiguredError):
            return error
        status = error.status if isinstance(error, UnavailableError) else None
        self._gateway.reports.failed(service.name, status=status, reason=error.message)
        if status == _INTERNAL_ERROR:
            content = f"{self._wanted.voice}\n{self._wanted.text}".encode()
            digest = hashlib.sha256(content).hexdigest()
            if self._gateway.suspects.is_to_blame(service.name, digest):
                return RejectedTextError(service.name)
        return error

    def _no_voice(self, asked: list[Service]) -> ApiError:
        """The error for a voice that nobody has, with those that there are."""
        known = [voice.id for it, voice in voices(self._gateway) if it in asked]
        names = [*OPENAI_VOICES, *known[:_MOST_NAMED]]
        more = ", and more at GET /v1/audio/voices" if len(known) > _MOST_NAMED else ""
        return not_supported("voice", self._wanted.voice, names, more=more)


def _true(sound: Sound) -> bytes:
    """A service's own WAV, if what it says of its length is so; else the same samples in ours."""
    if int.from_bytes(sound.wav[4:8], "little") == len(sound.wav) - 8:
        return sound.wav
    return wav.header(len(sound.samples), sound.rate) + sound.samples


def wav_file(speech: Speech, path: Path) -> None:
    """Say it into a file.

    Raises:
        Exception: as Speech.run.
    """
    with path.open("xb+") as file:
        made = WavFile(file)
        speech.run(made)
        made.complete()

"""The deep probe: real speech with known words, and what a service makes of it."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import sqrt

from proxy_app.audio import Piece
from proxy_app.audio.wav import HEADER_BYTES, SAMPLE_BYTES
from proxy_app.services import Service
from proxy_app.upstreams import (
    Client,
    MisconfiguredError,
    Options,
    RejectedError,
    TimeLimitError,
    UnavailableError,
    UpstreamError,
    Voices,
    WhisperX,
)
from proxy_app.upstreams.parakeet import Parakeet
from proxy_app.upstreams.sortformer import Sortformer
from proxy_app.watch.clip import CLIP, SPOKEN
from proxy_app.watch.words import ENOUGH, likeness

PROBE_HEADERS = {"X-Speech-Probe": "1"}
"""Our own servers neither load models for it nor keep them loaded (images/whisperx/README.md)."""
_LONGEST_HEARD = 500
_SHORTEST_S, _LONGEST_S = 2.0, 15.0
"""A voice that does not come to an end is cut at 20 s by Magpie."""
"""How long the sentences may take a voice; it is six seconds in the clip."""
_QUIET = 100.0
"""Of 32768: -50 dB, below what anybody would call speech."""
_SPEECH_S = 2.0
"""So much of the clip's six seconds a diarizer has to find at least."""


class Found(Enum):
    """What a probe found out."""

    GOOD = "good"
    BAD = "bad"
    """It failed, or answered nonsense."""
    SILENT = "silent"
    """The connection failed: whether anybody is there its host knows."""
    LATE = "late"
    """No answer within the limit."""
    BUSY = "busy"
    """It has no room, or no model loaded: that says nothing."""
    REFUSED = "refused"
    """It does not take the clip, or our key: no restart helps."""


@dataclass(frozen=True, slots=True)
class Check:
    """One probe's result."""

    found: Found
    detail: str
    """For people."""
    took_s: float = 0.0
    heard: str = ""
    """The words that came back, or what was told of them."""
    expected: str = ""


class _WrongError(Exception):
    """A service answered 200, and not what it should have; has what it gave."""

    def __init__(self, detail: str, heard: str) -> None:
        super().__init__(detail)
        self.heard = heard


class Prober:
    """Probes any service; never raises.

    Args:
        client: one that sends PROBE_HEADERS.
        limit_s: seconds that a probe may take.
    """

    def __init__(self, client: Client, limit_s: float) -> None:
        self._client = client
        self._voices = Voices(client)
        self._limit_s = limit_s

    def __call__(self, service: Service) -> Check:
        """Probe a service, in the way of its API and kind."""
        probe, expected = self._probe_of(service)
        began = time.monotonic()
        heard = ""
        try:
            heard = probe(service)
            found, detail = Found.GOOD, "It heard what was said." if expected == SPOKEN else ""
        except _WrongError as error:
            found, detail, heard = Found.BAD, str(error), error.heard
        except UpstreamError as error:
            found, detail = _meaning(error), _told(error)
        took_s = round(time.monotonic() - began, 3)
        return Check(found, detail, took_s, heard[:_LONGEST_HEARD], expected)

    def _probe_of(self, service: Service) -> tuple[Callable[[Service], str], str]:
        """What is done, and the words that are expected back, if any."""
        if service.kind == "llm":
            return self._models, "its models"
        if service.kind == "tts":
            return self._speech, f"{_SHORTEST_S:g} to {_LONGEST_S:g} s of speech"
        if service.kind == "diarize":
            return self._turns, "one voice"
        if service.kind == "speakers":
            return self._conversation, SPOKEN
        return self._words, SPOKEN

    def _conversation(self, service: Service) -> str:
        _answer, transcript = WhisperX(self._client).transcribe(
            service, CLIP, Options(language="en"), speakers=True, limit_s=self._limit_s
        )
        heard = _compared(" ".join(segment.text for segment in transcript.segments))
        if not any(segment.speaker for segment in transcript.segments):
            raise _WrongError("It heard the words and told no speaker.", heard)
        return heard

    def _words(self, service: Service) -> str:
        samples = (CLIP.stat().st_size - HEADER_BYTES) // SAMPLE_BYTES
        heard = Parakeet(self._client).recognise(
            service, Piece(CLIP, 0, samples), "en", limit_s=self._limit_s
        )
        return _compared(" ".join(segment.text for segment in heard.segments))

    def _turns(self, service: Service) -> str:
        turns = Sortformer(self._client).diarize(service, CLIP, limit_s=self._limit_s).turns
        speech_s = sum(turn.end - turn.start for turn in turns)
        heard = f"{len({turn.speaker for turn in turns})} voice(s), {speech_s:.1f} s"
        if speech_s < _SPEECH_S:
            raise _WrongError(f"It found {speech_s:.1f} s of speech in a clip of 6 s.", heard)
        return heard

    def _speech(self, service: Service) -> str:
        adapter = self._voices.by(service)
        if adapter is None:
            raise MisconfiguredError(service.name, f"{service.api} is no API of a voice.")
        voice = adapter.find(service, "alloy", "en-US")
        if voice is None:
            raise _WrongError("It has no voice.", "")
        sound = adapter.speak(service, SPOKEN, voice, limit_s=self._limit_s)
        duration_s, loud = sound.duration_s, _loudness(sound.samples)
        heard = f"{duration_s:.1f} s of {'sound' if loud >= _QUIET else 'silence'}"
        if not _SHORTEST_S <= duration_s <= _LONGEST_S or loud < _QUIET:
            raise _WrongError(f"It gave {heard} for three sentences.", heard)
        return heard

    def _models(self, service: Service) -> str:
        status, answer = self._client.get(service, "/v1/models", timeout_s=self._limit_s)
        models = answer.get("data") if isinstance(answer, dict) else None
        if status != 200 or not isinstance(models, list) or not models:  # noqa: PLR2004 - HTTP's
            raise _WrongError(f"It lists no models (status {status}).", "")
        return ", ".join(str(model.get("id")) for model in models if isinstance(model, dict))


def _compared(heard: str) -> str:
    """What was heard, if it is what was said."""
    if likeness(SPOKEN, heard) < ENOUGH:
        raise _WrongError("It answered other words than were said.", heard)
    return heard


def _meaning(error: UpstreamError) -> Found:
    match error:
        case TimeLimitError():
            return Found.LATE
        case RejectedError(status=429) | RejectedError(code="unloaded"):
            return Found.BUSY
        case RejectedError() | MisconfiguredError():
            return Found.REFUSED
        case UnavailableError(status=None):
            return Found.SILENT
    return Found.BAD


def _told(error: UpstreamError) -> str:
    """What a card says; the error's own words are for the client of a request."""
    if isinstance(error, UnavailableError) and error.status is not None:
        return f"It answered a deep probe with status {error.status}."
    return error.message


def _loudness(sound: bytes) -> float:
    """The root of the mean square of 16-bit samples, of 32768."""
    samples = array("h", sound)
    return sqrt(sum(sample * sample for sample in samples) / max(1, len(samples)))

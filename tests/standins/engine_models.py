"""Stand-ins for the engine's two models: they say what a test tells them to say, at once or when
it lets them. For tests of what is around the models: queue, limits, states, errors."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field

from images.whisperx.app.diarization import SpeakerCount
from images.whisperx.app.engine import Engine
from images.whisperx.app.probe_audio import Samples
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.transcription import Checkpoint, Transcription, Wish
from proxy_app.speech import Segment, Token, Turn

TOKENS = (Token(" Good", 0.1, 0.3), Token(" morning.", 0.3, 0.6), Token(" Hello.", 0.7, 0.9))
TURNS = (Turn(0.0, 0.65, "B"), Turn(0.65, 1.0, "A"))


@dataclass
class StandInTranscriber:
    """Hears TOKENS in everything; `error` is raised instead, once the models are loaded."""

    name: str = "stand-in"
    languages: Collection[str] = ("en",)
    error: Exception | None = None
    gate: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    wishes: list[Wish] = field(default_factory=list)
    calls: int = 0

    def transcribe(
        self,
        samples: Samples,  # noqa: ARG002
        duration_s: float,  # noqa: ARG002
        wish: Wish,
        checkpoint: Checkpoint,
    ) -> Transcription:
        """See `Transcriber`. The first call is the warm-up."""
        self.calls += 1
        if self.calls > 1:
            self.wishes.append(wish)
            self.entered.set()
            checkpoint("transcription", 0.5)
            if self.gate is not None:
                assert self.gate.wait(30)
                checkpoint("transcription", 0.9)
            if self.error is not None:
                raise self.error
        segment = Segment(0.1, 0.9, None, "Good morning. Hello.")
        return Transcription(wish.language or "en", (segment,), TOKENS)


@dataclass
class StandInDiarizer:
    """Finds TURNS in everything."""

    name: str = "stand-in"
    obeys_count: bool = True
    counts: list[SpeakerCount] = field(default_factory=list)

    def diarize(
        self,
        samples: Samples,  # noqa: ARG002
        count: SpeakerCount,
        checkpoint: Checkpoint,
    ) -> tuple[Turn, ...]:
        """See `Diarizer`."""
        self.counts.append(count)
        checkpoint("diarization", 0.5)
        return TURNS


def make_engine(
    settings: EngineSettings,
    transcriber: StandInTranscriber | None = None,
    diarizer: StandInDiarizer | None = None,
) -> Engine:
    """An engine around stand-ins; to be started."""
    return Engine(
        settings,
        load_transcriber=lambda _settings, _device: transcriber or StandInTranscriber(),
        load_diarizer=lambda _settings, _device: diarizer or StandInDiarizer(),
    )

"""Stand-ins for the engine's models: they say what a test tells them to say, at once or when it
lets them. For tests of what is around the models: queue, limits, states, errors."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from images.serving.heard import Chunk, Heard
from images.serving.recording import Recording, Samples
from images.serving.windows import Window
from images.whisperx.app.diarization import SpeakerCount, Voices
from images.whisperx.app.diarization.known import Matching
from images.whisperx.app.diarization.linking import Linking
from images.whisperx.app.engine import Engine
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.speech_map import FRAME, SpeechMap
from images.whisperx.app.transcription import Wish
from proxy_app.speech import Decoding, Logprob, Token, Turn

if TYPE_CHECKING:
    from images.whisperx.app.engine import LoadDiarizer, LoadTranscriber

TOKENS = (Token(" Good", 0.1, 0.3), Token(" morning.", 0.3, 0.6), Token(" Hello.", 0.7, 0.9))
TURNS = (Turn(0.0, 0.65, "B"), Turn(0.65, 1.0, "A"))

LINKING = Linking(needed=((0.0, 0.5),), margin=0.1, sure=0.9, brief_s=0.0, brief=1.0)

MATCHING = Matching(needed=((0.0, 0.5, 0.1),))


def hears_speech(samples: Samples) -> NDArray[np.float32]:
    """A stand-in for a detector, to which everything is speech."""
    return np.ones(len(samples) // FRAME, dtype=np.float32)


@dataclass
class StandInTranscriber:
    """Hears TOKENS in every chunk; `error` is raised instead, once the models are loaded.

    With a gate each batch after the warm-up waits for it; `entered` tells that one waits.
    """

    name: str = "stand-in"
    languages: Collection[str] = ("en",)
    batch_size: int = 1
    can_translate: bool = False
    error: Exception | None = None
    gate: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    wishes: list[Wish] = field(default_factory=list)
    calls: int = 0

    def detect_language(
        self,
        spots: Sequence[Samples],
        among: Collection[str] = (),  # noqa: ARG002
    ) -> str:
        """See `Transcriber`."""
        assert spots
        return "en"

    def hear(
        self,
        chunks: Sequence[Chunk],
        samples: Sequence[Samples],  # noqa: ARG002
        language: str,  # noqa: ARG002
        wish: Wish,
    ) -> list[Heard]:
        """See `Transcriber`. The first call is the warm-up."""
        self.calls += 1
        if self.calls > 1:
            self.wishes.append(wish)
            self.entered.set()
            if self.gate is not None:
                assert self.gate.wait(30)
            if self.error is not None:
                raise self.error
        return [_heard(chunk) for chunk in chunks]

    def is_doubtful(self, heard: Heard) -> bool:
        """See `Transcriber`."""
        assert heard.tokens
        return False

    def hear_again(self, chunk: Chunk, samples: Samples, language: str, wish: Wish) -> Heard:
        """See `Transcriber`."""
        (heard,) = self.hear([chunk], [samples], language, wish)
        return heard

    def weigh(
        self,
        heard: Heard,
        samples: Samples,  # noqa: ARG002
        language: str,  # noqa: ARG002
        wish: Wish,  # noqa: ARG002
    ) -> Heard:
        """See `Transcriber`: each word is a token of its own, half as likely as not."""
        tokens = (
            replace(token, logprobs=(Logprob(token.text.encode(), math.log(0.5)),))
            for token in heard.tokens
        )
        return replace(heard, tokens=tuple(tokens))

    def encode(self, text: str) -> tuple[int, ...]:
        """See `Transcriber`."""
        return tuple(range(len(text.split())))


def _heard(chunk: Chunk) -> Heard:
    tokens = (
        Token(token.text, chunk.start_s + (token.start or 0.0), chunk.start_s + (token.end or 0.0))
        for token in TOKENS
    )
    return Heard(chunk, tuple(tokens), Decoding())


@dataclass
class StandInDiarizer:
    """Finds TURNS in the first second of everything."""

    name: str = "stand-in"
    linking: Linking = LINKING
    matching: Matching | None = MATCHING
    embedding_model: str = "stand-in@1"
    counts: list[SpeakerCount] = field(default_factory=list)

    def listen(
        self,
        recording: Recording,  # noqa: ARG002
        speech: SpeechMap,  # noqa: ARG002
        window: Window,
        count: SpeakerCount,
    ) -> Generator[float, None, Voices]:
        """See `Diarizer`."""
        self.counts.append(count)
        yield 0.5
        return Voices(
            starts=np.array([window.start_s + turn.start for turn in TURNS]),
            ends=np.array([window.start_s + turn.end for turn in TURNS]),
            labels=np.array([0, 1]),
            embeddings=np.eye(2, dtype=np.float32),
        )

    def turns(self, voices: Voices, labels: Sequence[str]) -> tuple[Turn, ...]:
        """See `Diarizer`."""
        found = zip(voices.starts.tolist(), voices.ends.tolist(), labels, strict=True)
        return tuple(Turn(start, end, label) for start, end, label in found)


def make_engine(
    settings: EngineSettings,
    transcriber: StandInTranscriber | None = None,
    diarizer: StandInDiarizer | None = None,
    *,
    load_transcriber: LoadTranscriber | None = None,
    load_diarizer: LoadDiarizer | None = None,
) -> Engine:
    """An engine around stand-ins, or what loads them; to be started."""

    def transcriber_at_once(_s: EngineSettings, _device: str, _threads: int) -> StandInTranscriber:
        return transcriber or StandInTranscriber()

    def diarizer_at_once(
        _s: EngineSettings, _device: str, _threads: int, _check: Callable[[], None]
    ) -> StandInDiarizer:
        return diarizer or StandInDiarizer()

    return Engine(
        settings,
        load_transcriber=load_transcriber or transcriber_at_once,
        load_diarizer=load_diarizer or diarizer_at_once,
        detector=hears_speech,
    )

"""A stand-in for a Parakeet model: it says what a test tells it to say, at once or when it is let.

For tests of what is around the model: queue, limits, states, errors.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from images.parakeet.app.settings import ParakeetSettings
from images.serving.recording import Samples
from proxy_app.speech import Token

TOKENS = (Token(" Good", 0.1, 0.3), Token(" morning.", 0.3, 0.6), Token(" Hello.", 0.7, 0.9))
# CTranslate2 and torch both end with cudaGetErrorString's words; no GPU can be had for the tests.
LOST_CONTEXT = "CUDA error: an illegal memory access was encountered"


@dataclass
class StandInRecogniser:
    """Hears TOKENS in every window; `error` is raised instead, after the warm-up.

    With a gate each window after the warm-up waits for it; `entered` tells that one waits.
    """

    name: str = "stand-in"
    device: str = "cpu"
    languages: Collection[str] = ()
    error: Exception | None = None
    gate: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    lengths: list[int] = field(default_factory=list)

    def load(self, _settings: ParakeetSettings) -> StandInRecogniser:
        """What loads it: at once."""
        return self

    def hear(self, samples: Samples) -> list[Token]:
        """See `Recogniser`. The first call is the warm-up."""
        self.lengths.append(len(samples))
        if len(self.lengths) > 1:
            self.entered.set()
            if self.gate is not None:
                assert self.gate.wait(30)
            if self.error is not None:
                raise self.error
        return list(TOKENS)

    def encode(self, text: str) -> Sequence[int]:
        """See `Recogniser`."""
        return range(len(text.split()))

"""Speech to text: what is asked of a recogniser, and what it gives."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from images.serving.heard import Chunk, Heard
from images.serving.recording import Samples

REPETITIVE = 2.4
"""What zlib makes smaller than by this says the same again and again (OpenAI's threshold)."""
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""What a chunk that is in doubt is heard at, one after another (OpenAI's ladder)."""
CHUNK_S = 30.0
"""What Whisper hears at once; it is deaf to what is beyond."""


@dataclass(frozen=True, slots=True)
class Listening:
    """What counts as speech.

    As in faster-whisper's batched pipeline, but for the threshold: at its 0.5 a quiet speaker is
    passed over, and 614 words are written of eleven of AMI's clips instead of 636.

    Attributes:
        threshold: the probability from which on something is speech, 0 to 1.
        silence_s: so much silence ends a stretch of speech.
        pad_s: so much is heard before a stretch, and after it.
    """

    threshold: float = 0.35
    silence_s: float = 0.16
    pad_s: float = 0.4


@dataclass(frozen=True, slots=True)
class Wish:
    """How one request wants its audio transcribed.

    Attributes:
        language: Whisper's code, or None to detect it.
        prompt: text that the recording could have followed on.
        temperature: 0 lets Whisper raise it where it is unsure of what it wrote.
        languages: the codes among which it is detected; none are all that the model knows.
        keywords: names and terms that are to be expected.
        translate: into English, which is all that Whisper translates into.
        listening: what is heard at all.
        logprobs: whether the words are to carry their tokens' probabilities.
    """

    language: str | None = None
    prompt: str | None = None
    temperature: float = 0.0
    languages: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    translate: bool = False
    listening: Listening = Listening()
    logprobs: bool = False

    def written_in(self, spoken: str) -> str:
        """The language of the text, for a recording in which `spoken` is."""
        return "en" if self.translate and spoken else spoken


class Transcriber(Protocol):
    """A loaded speech-to-text model. Called from one thread at a time."""

    @property
    def name(self) -> str:
        """The model's name, as /health and the answers show it."""

    @property
    def languages(self) -> Collection[str]:
        """The codes that a wish's language may have."""

    @property
    def can_translate(self) -> bool:
        """Whether it has learnt to write other languages in English."""

    @property
    def batch_size(self) -> int:
        """How many chunks are heard at once."""

    def detect_language(self, spots: Sequence[Samples], among: Collection[str] = ()) -> str:
        """The language that is spoken, over all spots together; each at most CHUNK_S long.

        Args:
            spots: parts of the recording.
            among: the languages that it may be; none are all.
        """

    def hear(
        self, chunks: Sequence[Chunk], samples: Sequence[Samples], language: str, wish: Wish
    ) -> list[Heard]:
        """Transcribe at most `batch_size` chunks, whose audio is `samples`, in one go.

        That is at temperature 0, whatever the wish's is.
        """

    def is_doubtful(self, heard: Heard) -> bool:
        """Whether it repeats itself or is a guess, so that `hear_again` should have a try."""

    def hear_again(self, chunk: Chunk, samples: Samples, language: str, wish: Wish) -> Heard:
        """Transcribe one chunk by itself, at the wish's temperature."""

    def weigh(self, heard: Heard, samples: Samples, language: str, wish: Wish) -> Heard:
        """The same with the probabilities of the tokens that its words are made of."""

    def encode(self, text: str) -> Sequence[int]:
        """The model's tokens for a text."""

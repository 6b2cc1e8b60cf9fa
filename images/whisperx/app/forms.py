"""The fields of the requests, checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from images.serving.forms import CommonFields

_MAX_SPEAKERS = 50


def _made_here(value: str) -> str:
    if value in ("text", "srt", "vtt", "diarized_json"):
        raise ValueError(f"{value} is made by the gateway; this server makes json and verbose_json")
    return value


def _speakers(value: str) -> int:
    text = value.strip()
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MAX_SPEAKERS):
        raise ValueError(f"expected a whole number from 1 to {_MAX_SPEAKERS}")
    return int(text)


Speakers = Annotated[int, BeforeValidator(_speakers)]
"""A number of speakers, by the gateway's rules: what it lets through is not refused here."""


class TranscriptionFields(CommonFields):
    """The fields of POST /v1/audio/transcriptions that have an effect."""

    temperature: float = Field(0.0, ge=0, le=1)
    response_format: Annotated[Literal["json", "verbose_json"], BeforeValidator(_made_here)] = (
        "json"
    )
    timestamp_granularities: list[Literal["word", "segment"]] = Field(["segment"])


class SpeakersFields(CommonFields):
    """The fields of POST /v1/audio/transcribe-with-speakers."""

    # In this order, for each is checked against those before it.
    max_speakers: Speakers | None = None
    min_speakers: Speakers | None = None
    num_speakers: Speakers | None = None
    words: bool = False

    @field_validator("min_speakers", "num_speakers")
    @classmethod
    def _within_bounds(cls, value: int, others: ValidationInfo) -> int:
        low, high = others.data.get("min_speakers"), others.data.get("max_speakers")
        if high is not None and value > high:
            raise ValueError(f"it is more than max_speakers={high}")
        if low is not None and value < low:
            raise ValueError(f"it is less than min_speakers={low}")
        return value

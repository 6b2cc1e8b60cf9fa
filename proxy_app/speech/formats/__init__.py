"""Transcripts in the shapes that clients ask for, and the readers of what engines answer."""

from proxy_app.speech.formats.conversation import conversation, from_conversation
from proxy_app.speech.formats.errors import FormatError
from proxy_app.speech.formats.openai import (
    from_verbose_json,
    to_diarized_json,
    to_json,
    to_text,
    to_verbose_json,
)
from proxy_app.speech.formats.reading import parse_words
from proxy_app.speech.formats.rttm import parse_rttm, to_rttm
from proxy_app.speech.formats.subtitles import to_srt, to_vtt

__all__ = [
    "FormatError",
    "conversation",
    "from_conversation",
    "from_verbose_json",
    "parse_rttm",
    "parse_words",
    "to_diarized_json",
    "to_json",
    "to_rttm",
    "to_srt",
    "to_text",
    "to_verbose_json",
    "to_vtt",
]

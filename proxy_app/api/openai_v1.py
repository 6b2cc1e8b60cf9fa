"""/v1: OpenAI's paths, for OpenAI's clients.

Clients send what they like: any model's name, or none; arrays with and without brackets; parts
labelled application/octet-stream; fields that only newer models know. What does not concern us is
passed over, and what cannot be done is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from flask import Blueprint, Response, jsonify

from proxy_app.api.fields import choice, flag, options, sent, values
from proxy_app.api.known_speakers import known_speakers, refuse_known_speakers
from proxy_app.api.streams import OpenAIEvents, stream
from proxy_app.api.transcribe import follow, transcribe
from proxy_app.api.uploads import uploaded_file
from proxy_app.errors import BadRequestError
from proxy_app.speech import (
    Transcript,
    to_diarized_json,
    to_json,
    to_rttm,
    to_srt,
    to_text,
    to_verbose_json,
    to_vtt,
)

bp = Blueprint("openai_v1", __name__, url_prefix="/v1")

_FORMATS = ("json", "text", "verbose_json", "diarized_json", "rttm", "srt", "vtt")
_OF_TRANSLATIONS = ("json", "text", "verbose_json", "srt", "vtt")
_WITH_SPEAKERS = ("diarized_json", "rttm")
_STREAMED = ("json", "text", "diarized_json")
_GRANULARITIES = ("segment", "word")


@bp.post("/audio/transcriptions")
def transcriptions() -> Response:
    """OpenAI's transcription, and with speakers where the format or the model's name asks for it.

    Speakers come with diarized_json and rttm, and with every format (srt and vtt then carry the
    voices) where the model's name contains "diarize". Streams tell them in diarized_json alone.
    """
    upload = uploaded_file()
    wanted = _response_format()
    granularities = _granularities()
    speakers = wanted in _WITH_SPEAKERS or "diarize" in sent().get("model", "").lower()
    if not speakers:
        refuse_known_speakers(
            "works only where speakers are told: with response_format=diarized_json, or a model "
            "with `diarize` in its name."
        )
    known = known_speakers()
    names = [speaker.name for speaker in known]
    if _is_streamed(wanted):
        speakers = wanted in _WITH_SPEAKERS
        asked = replace(options(), known_speakers=known)
        return stream(follow(upload, asked, speakers=speakers), OpenAIEvents(names))
    asked = replace(options(words=True), known_speakers=known)
    served = transcribe(upload, asked, speakers=speakers)
    response = _render(served.transcript, wanted, granularities, names)
    response.headers["x-served-by"] = served.by
    return response


@bp.post("/audio/translations")
def translations() -> Response:
    """OpenAI's translation: what was said in any language, in English."""
    upload = uploaded_file()
    wanted = _response_format(_OF_TRANSLATIONS)
    served = transcribe(upload, options(translate=True), speakers=False)
    response = _render(served.transcript, wanted, frozenset(["segment"]), task="translate")
    response.headers["x-served-by"] = served.by
    return response


def _response_format(formats: tuple[str, ...] = _FORMATS) -> str:
    return choice("response_format", formats, "json")


def _granularities() -> frozenset[str]:
    name = "timestamp_granularities"
    wanted = values(name)
    for value in wanted:
        if value not in _GRANULARITIES:
            raise BadRequestError(f"{name}={value[:40]!r}: expected word or segment.", param=name)
    return frozenset(wanted or ["segment"])


def _is_streamed(wanted: str) -> bool:
    """Whether events are wanted. Like OpenAI's, ours are not for whisper-1, which gets no error."""
    if not flag("stream") or sent().get("model", "") == "whisper-1":
        return False
    if wanted not in _STREAMED:
        raise BadRequestError(
            f"response_format={wanted} cannot be streamed, only {', '.join(_STREAMED)} can. Leave "
            "stream out, and the answer comes in one piece.",
            param="stream",
            code="unsupported_value",
        )
    return True


def _render(
    transcript: Transcript,
    wanted: str,
    granularities: frozenset[str],
    known: Collection[str] = (),
    task: str = "transcribe",
) -> Response:
    if wanted == "verbose_json":
        return jsonify(
            to_verbose_json(
                transcript,
                words="word" in granularities,
                segments="segment" in granularities,
                task=task,
            )
        )
    if wanted == "json":
        return jsonify(to_json(transcript))
    if wanted == "diarized_json":
        return jsonify(to_diarized_json(transcript, known))
    renderers: dict[str, tuple[Callable[[Transcript], str], str]] = {
        "text": (to_text, "text/plain"),
        "rttm": (to_rttm, "text/plain"),
        "srt": (to_srt, "application/x-subrip"),
        "vtt": (to_vtt, "text/vtt"),
    }
    render, mimetype = renderers[wanted]
    return Response(render(transcript), content_type=f"{mimetype}; charset=utf-8")

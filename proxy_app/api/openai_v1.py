"""/v1: OpenAI's paths, for OpenAI's clients.

Clients send what they like: any model's name, or none; arrays with and without brackets; parts
labelled application/octet-stream; fields that only newer models know. What does not concern us is
passed over, and what cannot be done is refused by name. docs/speech-to-text.md has each field.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from flask import Blueprint, Response, jsonify, request

from proxy_app.api.fields import choice, flag, options, sent, values
from proxy_app.api.json_upload import recording_in_json
from proxy_app.api.known_speakers import known_speakers, refuse_known_speakers
from proxy_app.api.same import announce
from proxy_app.api.streams import OpenAIEvents, check_logprobs, stream
from proxy_app.api.transcribe import follow, transcribe
from proxy_app.api.uploads import uploaded_file
from proxy_app.api.wording import not_supported
from proxy_app.errors import BadRequestError
from proxy_app.speech import (
    Times,
    Transcript,
    to_diarized_json,
    to_json,
    to_rttm,
    to_srt,
    to_text,
    to_verbose_json,
    to_vtt,
)
from proxy_app.upstreams import Options

bp = Blueprint("openai_v1", __name__, url_prefix="/v1")

_FORMATS = ("json", "text", "verbose_json", "diarized_json", "rttm", "srt", "vtt")
_OF_TRANSLATIONS = ("json", "text", "verbose_json", "srt", "vtt")
WITH_SPEAKERS = ("diarized_json", "rttm")
_STREAMED = ("json", "text", "diarized_json")
_GRANULARITIES = ("segment", "word")
_INCLUDE = "include[]"
_RENDERERS: dict[str, tuple[Callable[[Transcript], str], str]] = {
    "text": (to_text, "text/plain"),
    "rttm": (to_rttm, "text/plain"),
    "srt": (to_srt, "application/x-subrip"),
    "vtt": (to_vtt, "text/vtt"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request wants to have done, and how it wants it told."""

    options: Options
    format: str
    granularities: frozenset[str]
    speakers: bool
    streamed: bool = False

    @property
    def known(self) -> list[str]:
        """The names of people whom the client knows."""
        return [speaker.name for speaker in self.options.known_speakers]


@bp.post("/audio/transcriptions")
def transcriptions() -> Response:
    """OpenAI's transcription, and with speakers where the format or the model's name asks for it.

    Speakers come with diarized_json and rttm, and with every format (srt and vtt then carry the
    voices) where the model's name contains "diarize". Streams tell them in diarized_json alone.
    """
    upload = recording()
    asked = asked_transcription()
    if asked.streamed:
        events = OpenAIEvents(asked.known, logprobs=asked.options.logprobs)
        return stream(follow(upload, asked.options, speakers=asked.speakers), events)
    served = transcribe(upload, asked.options, speakers=asked.speakers)
    response = render(served.transcript, asked)
    response.headers.update(served.headers)
    return response


@bp.post("/audio/translations")
def translations() -> Response:
    """OpenAI's translation: what was said in any language, in English."""
    upload = recording()
    wanted = choice("response_format", _OF_TRANSLATIONS, "json")
    asked = Asked(options(translate=True), wanted, frozenset(["segment"]), speakers=False)
    served = transcribe(upload, asked.options, speakers=False)
    response = render(served.transcript, asked)
    response.headers.update(served.headers)
    return response


def recording() -> Path:
    """The path of the recording that was sent, in a form or in JSON; its fields are readable then.

    Raises:
        ApiError: there is none, or it is over a limit.
    """
    announce()
    return recording_in_json() if request.is_json else uploaded_file()


def asked_transcription() -> Asked:
    """The transcription that the fields ask for.

    Raises:
        BadRequestError: naming the field.
    """
    wanted = format_of()
    granularities_ = granularities()
    is_diarizer = "diarize" in sent().get("model", "").lower()
    logprobs = _logprobs(wanted, is_diarizer=is_diarizer)
    if is_diarizer and sent().get("prompt"):
        raise BadRequestError(
            "Prompt is not supported for diarization models. Leave `prompt` out, or send another "
            "model with response_format=diarized_json.",
            param="prompt",
        )
    if not is_diarizer and wanted not in WITH_SPEAKERS:
        refuse_known_speakers(
            "works only where the speakers are told: response_format=diarized_json, or a model "
            "with `diarize` in its name."
        )
    streamed = _is_streamed(wanted)
    speakers = wanted in WITH_SPEAKERS or (is_diarizer and not streamed)
    found = options(words=not streamed, times=times_of(wanted, granularities_))
    found = replace(found, logprobs=logprobs, known_speakers=known_speakers())
    return Asked(found, wanted, granularities_, speakers, streamed)


def format_of(default: str = "json") -> str:
    """The format of the answer.

    Raises:
        BadRequestError: there is none such.
    """
    return choice("response_format", _FORMATS, default)


def granularities(default: Collection[str] = ("segment",)) -> frozenset[str]:
    """Of what verbose_json has the times.

    Raises:
        BadRequestError: naming the field.
    """
    name = "timestamp_granularities"
    wanted = values(name)
    for value in wanted:
        if value not in _GRANULARITIES:
            raise not_supported(name, value, _GRANULARITIES)
    return frozenset(wanted or default)


def _logprobs(wanted: str, *, is_diarizer: bool) -> bool:
    """Whether the tokens' probabilities are asked for, which OpenAI has in json alone."""
    included = values("include")
    for value in included:
        if value != "logprobs":
            raise not_supported(_INCLUDE, value, ["logprobs"])
    if included and is_diarizer:
        raise BadRequestError(
            "Logprobs are not supported for diarization models. Leave `include[]` out, or send "
            "another model.",
            param=_INCLUDE,
        )
    if included and wanted != "json":
        raise BadRequestError(
            f"response_format '{wanted}' is not compatible with include[]=logprobs. Use 'json' "
            "instead.",
            param=_INCLUDE,
            code="unsupported_value",
        )
    return bool(included)


def times_of(wanted: str, granularities: frozenset[str]) -> Times:
    """Of what an answer has the times, which must be true."""
    if wanted == "verbose_json":
        return Times.WORDS if "word" in granularities else Times.SEGMENTS
    return Times.SEGMENTS if wanted in ("srt", "vtt") else Times.NONE


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


def render(transcript: Transcript, asked: Asked) -> Response:
    """The transcript as it was asked for.

    Raises:
        ApiError: it has no probabilities, which were asked for.
    """
    if asked.options.logprobs:
        check_logprobs(transcript.segments)
    if asked.format in _RENDERERS:
        write, mimetype = _RENDERERS[asked.format]
        return Response(write(transcript), content_type=f"{mimetype}; charset=utf-8")
    if asked.format == "diarized_json":
        return jsonify(to_diarized_json(transcript, asked.known))
    translated = asked.options.translate
    if asked.format == "json":
        told = to_json(transcript, languages=not translated, logprobs=asked.options.logprobs)
        return jsonify(told)
    return jsonify(
        to_verbose_json(
            transcript,
            words="word" in asked.granularities,
            segments="segment" in asked.granularities,
            task="translate" if translated else "transcribe",
        )
    )

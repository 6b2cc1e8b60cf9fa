"""POST /asr, as Speakr and other clients of whisper-asr-webservice and WhisperX send it.

The options are in the query; some clients have them in the form. Where both say something the
query counts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from flask import Blueprint, Response, jsonify, request
from werkzeug.datastructures import MultiDict

from proxy_app.api.fields import choice, flag, options, refuse_files, sent
from proxy_app.api.same import announce
from proxy_app.api.transcribe import Served, transcribe
from proxy_app.api.uploads import SpoolingRequest, uploaded_file
from proxy_app.speech import (
    Times,
    to_asr_embeddings,
    to_asr_json,
    to_asr_text,
    to_srt,
    to_tsv,
    to_vtt,
    with_asr_speakers,
)

bp = Blueprint("asr", __name__)

OUTPUTS = ("json", "txt", "srt", "vtt", "tsv")
TASKS = ("transcribe", "translate")
_OPTIONS = frozenset(
    {
        *("diarize", "enable_diarization", "return_speaker_embeddings"),
        *("output", "task", "word_timestamps"),
    }
)
"""What OpenAI's paths do not have."""
_CUES = ("srt", "vtt")
_TEXTS = {
    "txt": (to_asr_text, "text/plain"),
    "srt": (to_srt, "application/x-subrip"),
    "vtt": (to_vtt, "text/vtt"),
    "tsv": (to_tsv, "text/tab-separated-values"),
}


@bp.post("/asr")
def asr() -> Response:
    """What was said, and with diarize=true by whom; the recording is the field `audio_file`."""
    announce()
    upload = uploaded_file("audio_file")
    refuse_files(_OPTIONS)
    cast(SpoolingRequest, request).fields = _fields()
    output = choice("output", OUTPUTS, "json")
    translate = choice("task", TASKS, "transcribe") == "translate"
    speakers = (flag("diarize") or flag("enable_diarization")) and not translate
    words = flag("word_timestamps")
    wanted = replace(
        options(words=words or output in _CUES, translate=translate, times=_times(output, words)),
        speaker_embeddings=speakers and flag("return_speaker_embeddings"),
    )
    return _render(transcribe(upload, wanted, speakers=speakers), output, words=words)


def _times(output: str, words: bool) -> Times:
    """Of what an answer has the times."""
    if words:
        return Times.WORDS
    return Times.NONE if output == "txt" else Times.SEGMENTS


def _fields() -> MultiDict[str, str]:
    return MultiDict([*request.args.items(multi=True), *sent().items(multi=True)])


def _render(served: Served, output: str, *, words: bool) -> Response:
    if output == "json":
        answer = to_asr_json(served.transcript, words=words)
        response = jsonify(answer | to_asr_embeddings(served.answer))
    else:
        render, mimetype = _TEXTS[output]
        text = render(with_asr_speakers(served.transcript))
        response = Response(text, content_type=f"{mimetype}; charset=utf-8")
    response.headers.update(served.headers)
    return response

"""What can be asked, address by address: what is sent and what is answered.

An operation's words are its view's docstring, its path and method are the view's route.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy_app.api import asr, audio_jobs, hosts, jobs, keys, openai_speech, secrets, services
from proxy_app.api.openapi import shapes
from proxy_app.audio.encode import FORMATS
from proxy_app.speech import LONGEST_NAME, MOST_KNOWN

Schema = dict[str, Any]
Fields = Mapping[str, type]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "string", "enum": ["true", "false"]}
_SPEAKERS: Schema = {"type": "integer", "minimum": 1, "maximum": 50}
_UPLOAD: dict[str, Schema] = {
    "file": {"type": "string", "format": "binary", "description": "The recording."},
    "language": {"type": "string", "description": "en, en-US or English; detected if absent."},
    "prompt": _TEXT,
    "num_speakers": _SPEAKERS,
    "min_speakers": _SPEAKERS,
    "max_speakers": _SPEAKERS,
    "keywords[]": {"type": "array", "items": {"type": "string", "maxLength": 100}},
    "languages[]": {"type": "array", "items": _TEXT},
    "temperature": {"type": "number", "minimum": 0, "maximum": 1},
    "stream": _FLAG,
}
_KNOWN: dict[str, Schema] = {
    "known_speaker_names[]": {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME},
        "maxItems": MOST_KNOWN,
        "description": "People who may speak; a reference for each, in the same order.",
    },
    "known_speaker_references[]": {
        "type": "array",
        "items": _TEXT,
        "maxItems": MOST_KNOWN,
        "description": "Their voices alone, 2 to 10 s: data URLs, or files.",
    },
}
_OPENAI: dict[str, Schema] = {
    "model": {"type": "string", "description": "Any; with `diarize` in it, speakers are told."},
    "response_format": {
        "type": "string",
        "enum": ["json", "text", "srt", "vtt", "verbose_json", "diarized_json", "rttm"],
    },
    "timestamp_granularities[]": {
        "type": "array",
        "items": {"type": "string", "enum": ["word", "segment"]},
    },
    "include[]": {"type": "array", "items": {"type": "string", "enum": ["logprobs"]}},
    "chunking_strategy": {"type": "string", "description": "auto, or JSON of type server_vad."},
}
_KNOWN_IN_JSON: dict[str, Schema] = {
    name.removesuffix("[]"): {**schema, "type": ["array", "null"]}
    for name, schema in _KNOWN.items()
}
_IN_JSON: Schema = {
    "type": "object",
    "properties": {
        "input_audio": {
            "type": "object",
            "properties": {"data": {"type": "string", "description": "Base64."}, "format": _TEXT},
            "required": ["data"],
        },
    },
    "required": ["input_audio"],
    "description": "The recording, and the form's other fields.",
}
_TRANSCRIPTION_IN_JSON: Schema = {
    **_IN_JSON, "properties": {**_IN_JSON["properties"], **_KNOWN_IN_JSON}
}  # fmt: skip
_JOB: dict[str, Schema] = {
    name: schema for name, schema in (_UPLOAD | _OPENAI | _KNOWN).items() if name != "stream"
} | {"webhook": {"type": "string", "description": "Is told when the job is done."}}
_RESULT = {name: _OPENAI[name] for name in ("response_format", "timestamp_granularities[]")}
_TRANSLATION: dict[str, Schema] = {
    name: _UPLOAD[name] for name in ("file", "language", "prompt", "keywords[]", "temperature")
} | {
    "model": {"type": "string", "description": "Any."},
    "response_format": {
        "type": "string",
        "enum": ["json", "text", "srt", "vtt", "verbose_json"],
    },
}


_ASR: dict[str, Schema] = {
    **dict.fromkeys(("diarize", "enable_diarization", "word_timestamps"), _FLAG),
    "return_speaker_embeddings": _FLAG,
    **dict.fromkeys(("num_speakers", "min_speakers", "max_speakers"), _SPEAKERS),
    **dict.fromkeys(("language", "initial_prompt", "hotwords", "model"), _TEXT),
    **dict.fromkeys(("encode", "vad_filter"), _TEXT),
    "output": {"type": "string", "enum": list(asr.OUTPUTS)},
    "task": {"type": "string", "enum": list(asr.TASKS)},
}


_SPEECH: Schema = {
    "type": "object",
    "properties": {
        "input": {**_TEXT, "minLength": 1, "description": "The text."},
        "voice": {
            "anyOf": [
                {**_TEXT, "minLength": 1},
                {
                    "type": "object",
                    "properties": {"id": {**_TEXT, "minLength": 1}},
                    "required": ["id"],
                },
            ]
        },
        "model": {"type": ["string", "null"], "description": "GET /v1/audio/models lists them."},
        "instructions": {
            "type": ["string", "null"], "maxLength": openai_speech.LONGEST_INSTRUCTIONS
        },
        "response_format": {"enum": [*FORMATS, None], "default": "mp3"},
        "speed": {
            "type": ["number", "null"],
            "minimum": openai_speech.SPEEDS[0],
            "maximum": openai_speech.SPEEDS[1],
        },
        "stream_format": {"enum": [*openai_speech.STREAM_FORMATS, None], "default": "audio"},
    },
    "required": ["input", "voice"],
}  # fmt: skip
_SOUND: dict[str, Schema] = {
    made.content_type.partition(";")[0]: {"type": "string", "format": "binary"}
    for made in FORMATS.values()
}


def _events(*names: str) -> dict[str, Schema]:
    """A stream of events, of which the schema shows one; `data` is JSON."""
    parts = {"data": _TEXT} | ({"event": {"enum": list(names)}, "id": _TEXT} if names else {})
    event = {"type": "object", "properties": parts, "required": ["data"]}
    return {"text/event-stream": event}


@dataclass(frozen=True)
class Operation:
    """One method of one address; its errors are those of all."""

    answer: object = None
    """The type of its JSON."""
    status: int = 200
    also: Mapping[str, Schema] = field(default_factory=dict)
    """Other content types."""
    other_status: int | None = None
    """One that is no error, with the same answer."""
    query: Mapping[str, Schema] = field(default_factory=dict)
    body: Fields | None = None
    """The fields of the JSON object that it takes."""
    optional: Collection[str] = ()
    """Those that may be left out."""
    upload: Mapping[str, Schema] | None = None
    """The fields of its form; the first is the recording."""
    passed_on: bool = False
    """Whether it takes any JSON object, which somebody else looks at."""
    json: Schema | None = None
    """The JSON that it takes, where that is more than `body` can tell; beside a form, either."""


_ACCEPTED = Operation(shapes.JobAccepted, 202, body={})
_ONE = Operation(shapes.JobAnswer)
_PASSED_ON = Operation(dict[str, Any], also=_events(), passed_on=True)
_STREAM = Operation(also=_events("phase", "log", "status", "end"), query={"after": jobs.AFTER})

OPERATIONS: dict[str, Operation] = {
    "GET /livez": Operation(also={"text/plain": _TEXT}),
    "GET /readyz": Operation(
        also={"text/plain": _TEXT}, other_status=503, query={"verbose": _TEXT}
    ),
    "GET /metrics": Operation(also={"text/plain": _TEXT}),
    "GET /api/openapi.json": Operation(dict[str, Any]),
    "POST /api/audio/transcribe-with-speakers": Operation(
        shapes.Conversation,
        also={"application/x-ndjson": _TEXT},
        upload={**_UPLOAD, **_KNOWN, "speaker_embeddings": _FLAG},
    ),
    "POST /v1/audio/transcriptions": Operation(
        shapes.Transcription,
        also={**_events(), "text/plain": _TEXT, "application/x-subrip": _TEXT, "text/vtt": _TEXT},
        upload={**_UPLOAD, **_OPENAI, **_KNOWN},
        json=_TRANSCRIPTION_IN_JSON,
    ),
    "POST /v1/audio/jobs": Operation(
        shapes.AudioJob, 202, other_status=200, upload=_JOB, json=_TRANSCRIPTION_IN_JSON
    ),
    "GET /v1/audio/jobs": Operation(shapes.AudioJobList, query=audio_jobs.LIST),
    "GET /v1/audio/jobs/{job_id}": Operation(shapes.AudioJob),
    "GET /v1/audio/jobs/{job_id}/result": Operation(
        shapes.Transcription,
        also={"text/plain": _TEXT, "application/x-subrip": _TEXT, "text/vtt": _TEXT},
        query=_RESULT,
    ),
    "DELETE /v1/audio/jobs/{job_id}": Operation(status=204),
    "POST /v1/audio/translations": Operation(
        shapes.Transcription,
        also={"text/plain": _TEXT, "application/x-subrip": _TEXT, "text/vtt": _TEXT},
        upload=_TRANSLATION,
        json=_IN_JSON,
    ),
    "POST /asr": Operation(
        shapes.AsrAnswer,
        also={
            "text/plain": _TEXT, "application/x-subrip": _TEXT, "text/vtt": _TEXT,
            "text/tab-separated-values": _TEXT,
        },
        query=_ASR,
        upload={"audio_file": _UPLOAD["file"]},
    ),
    "POST /v1/chat/completions": _PASSED_ON,
    "POST /v1/completions": _PASSED_ON,
    "POST /v1/embeddings": _PASSED_ON,
    "POST /v1/responses": _PASSED_ON,
    "GET /v1/models": Operation(shapes.ModelList),
    "GET /v1/models/{model}": Operation(shapes.ModelAnswer),
    "POST /v1/audio/speech": Operation(also={**_events(), **_SOUND}, json=_SPEECH),
    "GET /v1/audio/voices": Operation(shapes.VoiceList),
    "GET /v1/audio/models": Operation(shapes.SpeechModelList),
    "GET /api/whisperx/status": Operation(shapes.WhisperXStatus),
    "POST /api/whisperx/install": Operation(
        shapes.JobAccepted, 202, body=jobs.INSTALL, optional=jobs.INSTALL
    ),
    "GET /api/whisperx/install/{job_id}": _ONE,
    "GET /api/whisperx/install/{job_id}/stream": _STREAM,
    "GET /api/jobs": Operation(shapes.JobList, query=jobs.CHOICES),
    "POST /api/jobs": Operation(
        shapes.JobAccepted, 202, body=jobs.ORDER, optional=jobs.INSTALL
    ),
    "GET /api/jobs/kinds": Operation(shapes.KindList),
    "GET /api/jobs/{job_id}": _ONE,
    "GET /api/jobs/{job_id}/stream": _STREAM,
    "GET /api/jobs/{job_id}/log": Operation(also={"text/plain": _TEXT}, query={"ansi": _TEXT}),
    "POST /api/jobs/{job_id}/cancel": Operation(
        shapes.JobAnswer, 202, body=jobs.CANCEL, optional=jobs.CANCEL
    ),
    "POST /api/jobs/{job_id}/rerun": _ACCEPTED,
    "GET /api/services": Operation(shapes.ServiceList),
    "GET /api/services/{name}": Operation(shapes.ServiceAnswer),
    "POST /api/services/{name}/{verb}": _ACCEPTED,
    "POST /api/services/{name}/check": Operation(shapes.ServiceAnswer, 202, body={}),
    "PUT /api/services/{name}/auto_restart": Operation(
        shapes.ServiceAnswer, body=services.ON
    ),
    "DELETE /api/services/{name}": Operation(status=204),
    "GET /api/hosts": Operation(shapes.HostList),
    "POST /api/hosts": Operation(
        shapes.HostAnswer, 201, body=hosts.ADD, optional=hosts.OPTIONAL
    ),
    "POST /api/hosts/look": Operation(shapes.HostKeys, body=hosts.WHERE, optional=hosts.OPTIONAL),
    "POST /api/hosts/try": Operation(
        shapes.HostTrial, body=hosts.TRY, optional=hosts.OPTIONAL
    ),
    "PATCH /api/hosts/{name}": Operation(
        shapes.HostAnswer, body=hosts.CHANGE, optional=hosts.CHANGE
    ),
    "DELETE /api/hosts/{name}": Operation(status=204),
    "GET /api/keys": Operation(shapes.KeyList),
    "POST /api/keys": Operation(shapes.MadeKey, 201, body=keys.MAKE, optional=keys.OPTIONAL),
    "DELETE /api/keys/{key_id}": Operation(status=204),
    "GET /api/secrets": Operation(dict[str, shapes.SecretAnswer]),
    "PUT /api/secrets/{name}": Operation(
        shapes.SecretAnswer, body=secrets.VALUE
    ),
    "DELETE /api/secrets/{name}": Operation(status=204),
    "GET /api/live": Operation(also=_events("services", "hosts", "jobs", "parts")),
}  # fmt: skip
"""By method and path."""

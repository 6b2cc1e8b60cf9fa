"""/api/audio: the gateway's own answers."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from proxy_app.api.transcribe import with_speakers
from proxy_app.api.uploads import options, uploaded_file

bp = Blueprint("audio", __name__, url_prefix="/api/audio")


@bp.post("/transcribe-with-speakers")
def transcribe_with_speakers() -> Response:
    """Who said what: `file` and, optionally, language, prompt, num_, min_ and max_speakers."""
    served = with_speakers(uploaded_file(), options())
    transcript = served.transcript
    speakers = {segment.speaker for segment in transcript.segments} - {None}
    warnings = served.answer.get("warnings")
    response = jsonify(
        duration=round(transcript.duration, 3),
        language=transcript.language,
        speakers_detected=len(speakers),
        segments=[
            {
                "start_ms": round(segment.start * 1000),
                "end_ms": round(segment.end * 1000),
                "speaker": segment.speaker,
                "text": segment.text,
            }
            for segment in transcript.segments
        ],
        models=served.answer.get("models", {}),
        **({"warnings": warnings} if warnings else {}),
    )
    response.headers["x-served-by"] = served.service.name
    return response

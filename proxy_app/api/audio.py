"""/api/audio: the gateway's own answers."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, Response, jsonify

from proxy_app.api.fields import flag, options
from proxy_app.api.known_speakers import known_speakers
from proxy_app.api.same import announce
from proxy_app.api.streams import ConversationLines, stream
from proxy_app.api.transcribe import follow, transcribe
from proxy_app.api.uploads import uploaded_file
from proxy_app.speech import conversation_answer

bp = Blueprint("audio", __name__, url_prefix="/api/audio")


@bp.post("/transcribe-with-speakers")
def transcribe_with_speakers() -> Response:
    """Who said what: `file`, and optionally what is known of the recording, and stream."""
    announce()
    upload = uploaded_file()
    asked = replace(
        options(),
        known_speakers=known_speakers(),
        speaker_embeddings=flag("speaker_embeddings"),
    )
    if flag("stream"):
        return stream(follow(upload, asked, speakers=True), ConversationLines())
    served = transcribe(upload, asked, speakers=True)
    response = jsonify(conversation_answer(served.transcript, served.answer))
    response.headers["x-served-by"] = served.by
    return response

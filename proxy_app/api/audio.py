"""/api/audio: the gateway's own answers."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from proxy_app.api.fields import flag, options
from proxy_app.api.streams import ConversationLines, stream
from proxy_app.api.transcribe import follow, transcribe
from proxy_app.api.uploads import uploaded_file
from proxy_app.speech import conversation_answer

bp = Blueprint("audio", __name__, url_prefix="/api/audio")


@bp.post("/transcribe-with-speakers")
def transcribe_with_speakers() -> Response:
    """Who said what: `file`, and optionally language, prompt, num_, min_, max_speakers, stream."""
    upload = uploaded_file()
    if flag("stream"):
        return stream(follow(upload, options(), speakers=True), ConversationLines())
    served = transcribe(upload, options(), speakers=True)
    response = jsonify(conversation_answer(served.transcript, served.answer))
    response.headers["x-served-by"] = served.by
    return response

"""What anybody would write: a relay in Flask that parses the upload, and nothing else.

It has no keys, no limits, no log and no metrics, holds an upload in memory or in a temporary file
as werkzeug likes, and the copy that it sends in memory.
"""

from __future__ import annotations

import os

import requests
from flask import Flask, Response, request

app = Flask(__name__)
upstream = requests.Session()
upstream.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=64))
URL = os.environ["RELAY_TO"]


@app.get("/health")
def health() -> str:
    """Whether it is up."""
    return "ok"


@app.post("/v1/audio/transcriptions")
def transcriptions() -> Response:
    """Send the form on."""
    file = request.files["file"]
    files = {"file": (file.filename, file.stream, file.mimetype)}
    answer = upstream.post(URL + request.path, data=request.form, files=files, timeout=600)
    return Response(answer.content, answer.status_code, content_type=answer.headers["Content-Type"])


@app.post("/v1/chat/completions")
def chat() -> Response:
    """Send the question on, and the answer back as it comes."""
    about = {"Content-Type": "application/json"}
    answer = upstream.post(
        URL + request.path, data=request.data, headers=about, stream=True, timeout=600
    )
    pieces = answer.iter_content(None)
    return Response(pieces, answer.status_code, content_type=answer.headers["Content-Type"])

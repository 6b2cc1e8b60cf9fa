"""A stand-in for NVIDIA's Magpie TTS NIM: its HTTP API, with a tone instead of a voice.

NVIDIA's image and weights cannot be had without a key and a GPU. Shapes as the NIM's own log and
its clients show them: GET /v1/health/ready, GET /v1/audio/list_voices, POST /v1/audio/synthesize.
"""

from __future__ import annotations

import io
import json
import math
import struct
import wave
from email import policy
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RATE = 22_050
SECONDS_PER_CHARACTER = 0.06
LONGEST_S = 20.0
"""Where the NIM ends, without a word about it."""
VOICES = {
    "en-US,es-US,de-DE": {
        "voices": [
            "Magpie-Multilingual.EN-US.Mia",
            "Magpie-Multilingual.EN-US.Mia.Calm",
            "Magpie-Multilingual.DE-DE.Aria",
        ]
    }
}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Health and voices."""
        answers = {"/v1/health/ready": {"status": "ready"}, "/v1/audio/list_voices": VOICES}
        found = answers.get(self.path)
        self._answer(200 if found else 404, "application/json", json.dumps(found or {}).encode())

    def do_POST(self) -> None:
        """Speech: a WAV of 16-bit mono whose length goes with the text's."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = BytesParser(policy=policy.HTTP).parsebytes(head + body)
        fields = {
            str(part.get_param("name", header="content-disposition")): part.get_content()
            for part in form.iter_parts()
        }
        if self.path != "/v1/audio/synthesize" or not fields.get("text", "").strip():
            self._answer(400, "application/json", b'{"error": "text is missing"}')
            return
        self._answer(200, "audio/wav", tone(SECONDS_PER_CHARACTER * len(fields["text"])))

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def tone(seconds: float) -> bytes:
    """A WAV of 220 Hz, no longer than the NIM's."""
    count = round(min(seconds, LONGEST_S) * RATE)
    # A second has whole periods: it follows itself without a jump.
    second = [round(8000 * math.sin(2 * math.pi * 220 * i / RATE)) for i in range(min(count, RATE))]
    samples = (second * (int(LONGEST_S) + 1))[:count]
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(RATE)
        recording.writeframes(struct.pack(f"<{count}h", *samples))
    return file.getvalue()


if __name__ == "__main__":
    ThreadingHTTPServer(("", 9000), Handler).serve_forever()

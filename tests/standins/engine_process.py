"""A stand-in for the embedded engine as a process: it has a /health, and loads for a moment.

It hears the clip of the deep probe in whatever it is sent. `python engine_process.py PORT FOLDER
[ADDRESS]`; on a host of the fleet it is in an image (whisperx_image).
Files in the folder make it misbehave: `broken` ends it at its start; with `loading` it is unready,
with `loads-long` not once it is started again; `wedged` makes it answer 500 to every recording
until it is started again, `wedged-for-good` even then; with `deaf` it answers other words, with
`frozen` nothing; and with `one-500` a client's next recording meets a 500. A recording that comes
while there is `long` takes until that is gone, and all others wait for it, as on a real device; it
tells its progress, but with `stuck` there is none, and with `tells-nothing` it tells none. Each
upload is a line in `uploads`: the time, and whether it was a probe's.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOADS_S = 0.5
TURN = threading.Lock()
SPOKEN = "Good morning. The weather is very nice today. Thank you very much for your help."


class Handler(BaseHTTPRequestHandler):
    """Answers every GET as the engine's /health, and every POST as a transcription."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say how it is."""
        names = ("loading", "loads-long") if LOADS_LONG else ("loading",)
        is_loading = any((FOLDER / name).exists() for name in names)
        is_ready = time.monotonic() - STARTED > LOADS_S and not is_loading
        health = {
            "status": "ready", "whisper_loaded": is_ready, "diarizer_loaded": is_ready,
            "uptime_s": time.monotonic() - STARTED, **work(),
        }  # fmt: skip
        self._answer(200, health)

    def do_POST(self) -> None:
        """Hear the clip."""
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 65_536)))
        who = "probe" if "X-Speech-Probe" in self.headers else "client"
        with (FOLDER / "uploads").open("a") as uploads:
            uploads.write(f"{time.time():.3f} {who}\n")
        while (FOLDER / "frozen").exists():
            time.sleep(0.05)
        with TURN:
            while who == "client" and (FOLDER / "long").exists():
                time.sleep(0.05)
        once = FOLDER / "one-500"
        if once.exists() and who == "client":
            once.unlink()
            self._answer(500, {"error": {"message": "CUDA error"}})
        elif (FOLDER / "wedged").exists() or (FOLDER / "wedged-for-good").exists():
            self._answer(500, {"error": {"message": "CUDA error: device-side assert triggered"}})
        else:
            self._answer(200, conversation("la " * 15 if (FOLDER / "deaf").exists() else SPOKEN))

    def _answer(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def work() -> dict[str, object]:
    """What /health says of the work that is done, if it says anything."""
    if (FOLDER / "tells-nothing").exists():
        return {}
    steps = 0 if (FOLDER / "stuck").exists() else int(10 * time.monotonic())
    at_work = TURN.locked()
    return {"in_flight": int(at_work), "progress": {"steps": steps} if at_work else None}


def conversation(text: str) -> dict[str, object]:
    """An answer with one speaker."""
    segment = {"start_ms": 0, "end_ms": 5900, "speaker": "Speaker_0", "text": text}
    return {
        "duration": 6.0, "language": "en", "speakers_detected": 1, "segments": [segment],
        "models": {"transcription": "stand-in", "diarization": "stand-in"},
    }  # fmt: skip


class Server(ThreadingHTTPServer):
    """One that takes fifty clients at once."""

    request_queue_size = 128
    daemon_threads = True


if __name__ == "__main__":
    STARTED = time.monotonic()
    FOLDER = Path(sys.argv[2])
    if (FOLDER / "broken").exists():
        sys.exit("broken")
    LOADS_LONG = (FOLDER / "loads-long").exists()
    (FOLDER / "wedged").unlink(missing_ok=True)
    ADDRESS = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    Server((ADDRESS, int(sys.argv[1])), Handler).serve_forever()

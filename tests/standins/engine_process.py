"""A stand-in for the embedded engine as a process: it has a /health, and loads for a moment.

`python engine_process.py PORT FOLDER`: a file `broken` in the folder ends it at its start, and with
`loading` there it never gets ready.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOADS_S = 0.5


class Handler(BaseHTTPRequestHandler):
    """Answers every GET as the engine's /health."""

    def do_GET(self) -> None:
        is_ready = time.monotonic() - STARTED > LOADS_S and not (FOLDER / "loading").exists()
        health = {"status": "ready", "whisper_loaded": is_ready, "diarizer_loaded": is_ready}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(health).encode())


if __name__ == "__main__":
    STARTED = time.monotonic()
    FOLDER = Path(sys.argv[2])
    if (FOLDER / "broken").exists():
        sys.exit("broken")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

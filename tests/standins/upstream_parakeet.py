"""Stand-ins for a Parakeet server and for the Sortformer patch, whose models want a GPU.

They speak the protocols of images/parakeet and images/sortformer, fail as upstream_whisperx's does,
and hear the words of tests/standins/blips.py.

Alone, to be killed: `python -m tests.standins.upstream_parakeet PORT [BEHAVIOUR]`.
"""

import contextlib
import sys
from types import MappingProxyType
from typing import Any

from tests.standins.blips import heard
from tests.standins.served import Received
from tests.standins.upstream_whisperx import StandIn


class Parakeet(StandIn):
    """Hears words."""

    healthy = MappingProxyType(
        {"model_loaded": True, "model": "stand-in parakeet", "queue": 32, "detail": ""}
    )

    def answer_to(self, received: Received) -> dict[str, Any]:
        """verbose_json with words."""
        _fields, wav = received.form()
        words = heard(wav)
        text = " ".join(word.text for word in words)
        segment = {"id": 0, "start": 0.0, "end": 1.0, "text": text}
        if words:
            segment |= {"start": words[0].start, "end": words[-1].end}
        return {
            "task": "transcribe",
            "language": "english",
            "duration": 999.0,
            "text": text,
            "words": [{"word": w.text, "start": w.start, "end": w.end} for w in words],
            "segments": [segment] if words else [],
        }


class Sortformer(StandIn):
    """Hears who speaks."""

    health_path = "/v1/audio/diarize/health"
    healthy = MappingProxyType({"model": "stand-in sortformer", "max_seconds": 14400.0, "queue": 4})

    def answer_to(self, received: Received) -> dict[str, Any]:
        """Turns, each from its first word's start to its last word's end."""
        _fields, wav = received.form()
        turns: list[dict[str, Any]] = []
        for word in heard(wav):
            speaker = f"speaker_{3 - word.speaker}"
            if turns and turns[-1]["speaker"] == speaker:
                turns[-1]["end"] = word.end
            else:
                turns.append({"start": word.start, "end": word.end, "speaker": speaker})
        return {
            "duration": 999.0,
            "speakers_detected": len({turn["speaker"] for turn in turns}),
            "segments": turns,
            "model": "stand-in sortformer",
        }


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        alone = Parakeet(int(sys.argv[1]))
        alone.behave(*sys.argv[2:3] or ["ok"])
        alone.serve_forever()

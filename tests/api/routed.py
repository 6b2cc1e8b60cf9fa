"""A gateway in front of three stand-ins: WhisperX, Parakeet and Sortformer."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import requests

from tests.api.conftest import Gateway, free_port, running
from tests.standins.blips import Blip, dialogue, recording
from tests.standins.upstream_parakeet import Parakeet, Sortformer
from tests.standins.upstream_whisperx import StandIn

PATH = "/api/audio/transcribe-with-speakers"
OPENAI = "/v1/audio/transcriptions"
WORDS = dialogue(12)
DURATION_S = 6.5
AUDIO = recording(WORDS, DURATION_S)
PAIR = "parakeet+sortformer"
KINDS = {"whisperx": "speakers", "parakeet": "asr", "sortformer": "diarize"}
_numbers = count()


@dataclass
class Routed:
    """The gateway and what is behind it."""

    gateway: Gateway
    whisperx: StandIn
    parakeet: Parakeet
    sortformer: Sortformer

    @property
    def standins(self) -> dict[str, StandIn]:
        return {
            "whisperx": self.whisperx,
            "parakeet": self.parakeet,
            "sortformer": self.sortformer,
        }

    def register(self, name: str, **fields: object) -> None:
        """As a playbook does; with a number, so that nothing is remembered of one before."""
        if name in self.standins:
            fields = {"base_url": f"http://127.0.0.1:{self.standins[name].port}"} | fields
        api = fields.setdefault("api", name)
        registration = {"kind": KINDS[str(api)], "host": f"spark{next(_numbers)}", **fields}
        path = self.file(name)
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".new").write_text(json.dumps(registration))
        path.with_suffix(".new").replace(path)

    def add(self, name: str, api: str, port: int, **fields: object) -> None:
        """Register one more of a kind, until the next reset."""
        self.register(name, api=api, base_url=f"http://127.0.0.1:{port}", **fields)

    def file(self, name: str) -> Path:
        return self.gateway.state / "services.d" / f"{name}.json"

    def unregister(self, name: str) -> None:
        self.file(name).unlink()

    def stop(self, name: str) -> None:
        """As when its container is removed: nobody listens any more."""
        self.register(name, base_url=f"http://127.0.0.1:{free_port()}")

    def uploads(self) -> list[int]:
        """How many recordings came to each."""
        return [len(standin.received) for standin in self.standins.values()]

    def another(self, path: str = OPENAI) -> requests.Response:
        """Transcribe it once more: a request that is not the same as one before."""
        return self.gateway.transcribe(AUDIO, path, user=str(next(_numbers)))

    def reset(self) -> None:
        for file in (self.gateway.state / "services.d").glob("*.json"):
            file.unlink()
        for name, standin in self.standins.items():
            standin.reset()
            self.register(name)
        for note in (self.gateway.state / "suspects").iterdir():
            note.unlink()


LOADING: tuple[int, Any] = (
    200,
    {"status": "loading", "whisper_loaded": True, "diarizer_loaded": False, "detail": ""},
)


def segments(words: Sequence[Blip]) -> list[dict[str, Any]]:
    """What the answer has for these words."""
    names: dict[int, str] = {}
    found: list[dict[str, Any]] = []
    for word in words:
        speaker = names.setdefault(word.speaker, f"Speaker_{len(names)}")
        start_ms, end_ms = round(word.start * 1000), round(word.end * 1000)
        if found and found[-1]["speaker"] == speaker:
            found[-1]["end_ms"] = end_ms
            found[-1]["text"] += f" {word.text}"
        else:
            found.append(
                {"start_ms": start_ms, "end_ms": end_ms, "speaker": speaker, "text": word.text}
            )
    return found


@contextlib.contextmanager
def three_behind(state: Path, **settings: str) -> Iterator[Routed]:
    """Start all of them."""
    with (
        StandIn() as whisperx,
        Parakeet() as parakeet,
        Sortformer() as sortformer,
        running(state, 1, WHISPERX_HOST="", **settings) as gateway,
    ):
        routed = Routed(gateway, whisperx, parakeet, sortformer)
        routed.reset()
        yield routed

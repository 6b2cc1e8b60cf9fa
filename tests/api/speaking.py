"""The gateway with voices behind it: Magpie and Kokoro as stand-ins, eSpeak NG as it is."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import av
import openai
import requests

from tests.api.conftest import Gateway, eventually, running
from tests.standins.upstream_speech import Kokoro, Magpie

FORMATS = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
SENTENCE = "This is a sentence with some words in it."
TEN = " ".join(f"Here comes sentence {name}, with some words in it." for name in "abcdefghij")
JSON = {"Content-Type": "application/json"}
_numbers = count()


@dataclass
class Speaking:
    """The gateway and the voices behind it; that without a server is always there."""

    gateway: Gateway
    magpie: Magpie
    kokoro: Kokoro

    def register(self, name: str, port: int | None = None, **fields: object) -> None:
        """As a playbook does; with a number, so that nothing is remembered of one before."""
        known = {"kokoro": (self.kokoro, "openai")}
        standin, api = known.get(name, (self.magpie, "magpie"))
        registration = {
            "kind": "tts",
            "api": api,
            "base_url": f"http://127.0.0.1:{port or standin.port}",
            "host": f"spark{next(_numbers)}",
            **fields,
        }
        folder = self.gateway.state / "services.d"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.new").write_text(json.dumps(registration))
        (folder / f"{name}.new").replace(folder / f"{name}.json")

    def reset(self) -> None:
        for standin in (self.magpie, self.kokoro):
            standin.reset()
        for file in (self.gateway.state / "services.d").glob("*.json"):
            file.unlink()
        for note in (self.gateway.state / "suspects").iterdir():
            note.unlink()
        self.register("magpie")

    def post(
        self,
        *,
        stream: bool = False,
        headers: dict[str, str] | None = None,
        **asked: Any,  # noqa: ANN401 - JSON
    ) -> requests.Response:
        body = {"model": "tts-1", "voice": "alloy", "input": SENTENCE} | asked
        url = f"{self.gateway.url}/v1/audio/speech"
        return requests.post(url, json=body, headers=headers, timeout=60, stream=stream)

    def refused(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        answer = self.post(**asked)
        assert answer.status_code == 400, answer.text
        error: dict[str, Any] = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        return error


@contextmanager
def voices_behind(state: Path) -> Iterator[Speaking]:
    """A gateway of one worker."""
    settings = {"WHISPERX_HOST": "", "SPEECH_VOICE": "true", "SPEECH_WORKERS": "1"}
    with (
        Magpie() as magpie,
        Kokoro() as kokoro,
        running(state, 1, **settings) as gateway,
    ):
        yield Speaking(gateway, magpie, kokoro)


@contextmanager
def tidy(speaking: Speaking) -> Iterator[Speaking]:
    """Magpie is registered; every test leaves the spool empty and no child process."""
    speaking.reset()
    yield speaking
    for standin in (speaking.magpie, speaking.kokoro):
        standin.release.set()
    left = speaking.gateway.files
    assert eventually(lambda: not left()), left()
    (worker,) = speaking.gateway.workers()
    with open(f"/proc/{worker}/task/{worker}/children") as children:  # noqa: PTH123
        assert eventually(lambda: children.seek(0) == 0 and not children.read())


@contextmanager
def openais_client(speaking: Speaking) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, which does not try again."""
    url = f"{speaking.gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=60) as made:
        yield made


def probed(data: bytes) -> tuple[str, float]:
    """What FFmpeg finds in a file: its container, and its length in seconds."""
    with av.open(io.BytesIO(data), "r") as file:
        samples = sum(frame.samples for frame in file.decode(audio=0))
        return file.format.name, samples / file.streams.audio[0].codec_context.sample_rate

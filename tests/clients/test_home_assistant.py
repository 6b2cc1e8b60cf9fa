"""Home Assistant through wyoming-openai, its bridge from PyPI: Wyoming in, our /v1 out."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from proxy_app.watch.clip import SPOKEN
from proxy_app.watch.words import likeness
from tests.api.conftest import eventually, free_port
from tests.clients.conftest import python_of
from tests.clients.home import ROOT, Home

HERE = Path(__file__).parent
SENTENCES = [
    "The light is on. The door of the garage is closed. It is raining outside. Good ",
    "night.",
]
"""As a language model's words come: what is complete is said at once, three sentences at a time."""


@dataclass
class Assistant:
    """Home Assistant's side of the bridge."""

    process: subprocess.Popen[str]
    log: Path

    def do(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        to, back = self.process.stdin, self.process.stdout
        assert to
        assert back
        to.write(json.dumps(asked) + "\n")
        to.flush()
        line = back.readline()
        assert line, self.log.read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer


@pytest.fixture(scope="module")
def session_assistant(
    session_at: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Assistant]:
    """The bridge is told our address and a key, and nothing else of us."""
    python, port = str(python_of("clients")), free_port()
    log = tmp_path_factory.mktemp("bridge") / "log"
    bridge = [
        *(python, str(HERE / "bridge.py"), "--uri", f"tcp://127.0.0.1:{port}"),
        *("--stt-openai-url", session_at.v1, "--stt-openai-key", session_at.key),
        *("--stt-models", "whisper-1", "--stt-streaming-models", "gpt-4o-transcribe"),
        *("--tts-openai-url", session_at.v1, "--tts-openai-key", session_at.key),
        *("--tts-models", "tts-1", "--tts-streaming-models", "gpt-4o-mini-tts"),
        *("--log-level", "DEBUG"),
    ]
    session_at.wire.forget()
    with log.open("w") as output:
        server = _start(bridge, output)
        try:
            assert eventually(lambda: "Starting server" in log.read_text(), 60), log.read_text()
            person = _start(
                [python, str(HERE / "home_assistant.py"), str(port)], output, pipe=subprocess.PIPE
            )
            with person:
                yield Assistant(person, log)
                person.terminate()
        finally:
            server.terminate()
            server.wait(30)


def _start(command: list[str], log: IO[str], pipe: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=ROOT, text=True, stderr=log, stdin=pipe, stdout=pipe)


@pytest.fixture
def assistant(at: Home, session_assistant: Assistant) -> Assistant:
    return session_assistant


def test_the_bridge_takes_us_for_openai_and_offers_openais_voices(assistant: Assistant) -> None:
    """Not for LocalAI, Speaches or Kokoro, which it would ask in other ways."""
    offered = assistant.do()
    log = assistant.log.read_text()
    assert "Detected STT backend: OpenAIBackend.OPENAI" in log, log
    assert "Detected TTS backend: OpenAIBackend.OPENAI" in log
    assert offered["models"] == ["gpt-4o-transcribe", "whisper-1"]
    assert {"alloy (tts-1)", "marin"} <= set(offered["voices"])


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-transcribe"])
def test_what_is_said_comes_back_as_text(
    at: Home, assistant: Assistant, clip: Path, model: str
) -> None:
    heard = assistant.do(hear=str(clip), model=model)
    assert likeness(SPOKEN, heard["text"]) > 0.8
    (asked,) = at.wire.asked("/v1/audio/transcriptions")
    fields, files = asked.form()
    assert (fields["model"], files["file"].filename) == (model, "recording.wav")
    is_streamed = model == "gpt-4o-transcribe"
    assert (fields.get("stream") == "true") is is_streamed
    assert "".join(heard["pieces"]).strip() == (heard["text"].strip() if is_streamed else "")


def test_a_text_comes_back_as_sound(at: Home, assistant: Assistant) -> None:
    made = assistant.do(say="The light is on.", voice="alloy (tts-1)")
    (asked,) = at.wire.asked("/v1/audio/speech")
    assert asked.asked["response_format"] == "wav"
    assert len(made.get("wav", "")) > 1000, made
    assert (made["width"], made["channels"]) == (2, 1)
    assert base64.b64decode(made["wav"])[44:] == asked.answer[44:]


def test_three_sentences_at_once_are_all_said(at: Home, assistant: Assistant) -> None:
    at.magpie.behave("one_by_one")  # none before all are there
    with ThreadPoolExecutor(1) as pool:
        speaking = pool.submit(assistant.do, stream=SENTENCES, voice="marin")
        are_there = eventually(lambda: at.magpie.working >= 3, 60)
        at.magpie.behave("ok")
        at.magpie.steps.release(3)
        made = speaking.result()
    assert are_there, at.magpie.most_at_once
    assert "error" not in made
    asked = at.wire.asked("/v1/audio/speech")
    said = " ".join(one.asked["input"] for one in asked)
    assert sorted(said.split()) == sorted("".join(SENTENCES).split())
    assert made["bytes"] >= sum(len(one.answer) - 44 for one in asked) > 0

"""The requests of Open WebUI 0.10, as read in its source, and what it makes of answers."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy_app.watch.clip import SPOKEN
from proxy_app.watch.words import likeness
from tests.api.conftest import eventually, running
from tests.api.recordings import canonical_wav
from tests.clients.contract import broken
from tests.clients.home import Home
from tests.clients.probed import FORMATS
from tests.clients.wire import Wire
from tests.standins.upstream_speech import MIA
from tests.standins.upstream_whisperx import StandIn

ITS_OWN = {"X-OpenWebUI-User-Name": "Ada", "X-OpenWebUI-User-Id": "1"}
SENTENCES = ["Here is the first one.", "And the second.", "Done!"]


def transcribe(
    at: Home, recording: bytes, model: str = "", language: str | None = "en"
) -> Iterator[requests.Response]:
    """Its way: at once a second time without the language, if the answer is not 200."""
    for said in dict.fromkeys([language, None]):
        fields = {"model": model} | ({"language": said} if said else {})
        file = (f"{uuid.uuid4()}.wav", recording, "application/octet-stream")
        answer = at.post(
            "/audio/transcriptions",
            headers=at.bearer | ITS_OWN, data=fields, files={"file": file},
        )  # fmt: skip
        yield answer
        if answer.status_code == 200:
            return


def shown(answer: requests.Response) -> str:
    """What its user sees of a failure: only an object `error` with a `message` is told."""
    body = answer.json()
    if isinstance(body.get("error"), dict):
        return f"External: {body['error'].get('message', '')}"
    return "Open WebUI: Server Connection Error"


@pytest.mark.parametrize("model", ["", "whisper-1"])
def test_what_was_said_is_its_text(at: Home, clip: Path, model: str) -> None:
    before = at.worked()
    (answer,) = transcribe(at, clip.read_bytes(), model)
    assert likeness(SPOKEN, answer.json()["text"]) > 0.8
    assert eventually(lambda: at.worked() == before + 1)  # counted a moment after the answer


def test_both_of_its_requests_fail_with_the_reason_and_neither_is_work(at: Home) -> None:
    before = at.worked()
    answers = list(transcribe(at, b"no sound at all " * 99))
    assert [answer.status_code for answer in answers] == [400, 400]
    for answer in answers:
        assert shown(answer).startswith("External: ")
        assert len(shown(answer)) > 20
    assert at.worked() == before


def test_of_an_engine_that_fails_both_requests_are_told_and_each_has_asked_it_once(
    at: Home, clip: Path, document: dict[str, Any] | None, tmp_path: Path
) -> None:
    """It does not wait for the second one, whatever Retry-After says."""
    recording, other = clip.read_bytes(), canonical_wav(3)
    with (
        StandIn() as engine,
        running(tmp_path, engine.port) as gateway,
        Wire(gateway.port) as wire,
    ):
        here = replace(at, wire=wire, key="any")
        engine.behave("500", {"error": {"message": "CUDA error: device-side assert triggered"}})
        answers = list(transcribe(here, recording))
        assert [(it.status_code, it.headers["Retry-After"]) for it in answers] == [(503, "60")] * 2
        languages = [it.form()[0].get("language") for it in engine.received]
        assert languages == ["en", None], "each of its requests is one of the engine's"
        engine.behave("ok")
        (answer,) = transcribe(here, other)
        assert answer.status_code == 200
        engine.behave("500")
        blamed = list(transcribe(here, recording))
        assert [it.status_code for it in blamed] == [422, 422]
        assert len(engine.received) == 2 + 1 + 2
        for answer in (*answers, *blamed):
            assert shown(answer).startswith("External: ")
            assert "CUDA" not in answer.text
        found = [it for exchange in wire.exchanges() for it in broken(exchange, document)]
        assert (len(wire.exchanges()), found) == (5, [])


def test_its_way_of_sending_sound_in_json_is_heard_too(at: Home, clip: Path) -> None:
    sound = base64.b64encode(clip.read_bytes()).decode()
    asked = {"model": "", "language": "en", "input_audio": {"data": sound, "format": "wav"}}
    answer = at.post("/audio/transcriptions", json=asked)
    assert likeness(SPOKEN, answer.json()["text"]) > 0.8


def test_it_plays_every_sentence_as_mp3(at: Home) -> None:
    """It keeps what it gets under the name of an mp3 for ever, and asks for no format."""
    for sentence in SENTENCES:
        asked = {"input": sentence, "voice": "alloy", "model": "tts-1"}
        answer = at.post("/audio/speech", headers=at.bearer | ITS_OWN, json=asked)
        assert answer.headers["Content-Type"] == "audio/mpeg"
        FORMATS["mp3"].check(answer.content, at_least_s=0.06 * len(sentence) * 0.9)


@pytest.mark.parametrize("with_key", [True, False])
def test_it_lists_voices_and_models_with_and_without_a_key(at: Home, *, with_key: bool) -> None:
    """Where it gets no list it shows six of OpenAI's voices without a word."""
    headers = at.bearer if with_key else {}
    voices = {
        voice["id"]: voice["name"] for voice in at.get("/audio/voices", **headers).json()["voices"]
    }
    assert {MIA, "alloy", "de"} <= set(voices)
    models: list[Any] = at.get("/audio/models", **headers).json()["models"]
    assert {"tts-1", "tts-1-hd"} <= {model["id"] for model in models}
    fallback = at.get("/models", **headers).json()["data"]
    assert {"tts-1", "whisper-1"} <= {model["id"] for model in fallback}


def test_without_a_key_nothing_but_the_lists_is_open(at: Home, clip: Path) -> None:
    file = {"file": ("a.wav", clip.read_bytes())}
    assert at.post("/audio/transcriptions", headers={}, files=file).status_code == 401
    asked = {"input": "Hello.", "voice": "alloy"}
    answer = at.post("/audio/speech", headers={}, json=asked)
    assert answer.status_code == 401
    assert shown(answer).startswith("External: ")


def test_its_chats_go_to_the_language_model(at: Home) -> None:
    asked = {"model": "stand-in/echo-1", "stream": True, "messages": [
        {"role": "user", "content": "one two"}]}  # fmt: skip
    answer = at.post("/chat/completions", headers=at.bearer | ITS_OWN, json=asked)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")
    sent = at.llm.received[-1].headers
    assert not {name for name in sent if name.startswith("x-openwebui")}

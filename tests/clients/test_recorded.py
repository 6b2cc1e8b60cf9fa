"""Requests of clients that cannot be run here, as they were read in their source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy_app.watch.clip import SPOKEN
from proxy_app.watch.words import likeness
from tests.api.recordings import canonical_wav
from tests.clients.home import CLIENT_WITHIN_S, Home
from tests.clients.probed import FORMATS, probed
from tests.standins.upstream_speech import MIA

HEARD = 0.8


# n8n, whose node for OpenAI has these names built in.


@pytest.mark.parametrize("voice", ["alloy", "echo", "fable", "nova", "onyx", "shimmer"])
@pytest.mark.parametrize("model", ["tts-1", "tts-1-hd"])
def test_n8n_speaks_with_its_models_and_voices(at: Home, model: str, voice: str) -> None:
    asked = {"model": model, "input": "Hello.", "voice": voice, "response_format": "mp3",
             "speed": 1}  # fmt: skip
    answer = at.post("/audio/speech", json=asked)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "audio/mpeg")


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac"])
def test_n8n_gets_its_formats(at: Home, name: str) -> None:
    asked = {"model": "tts-1", "input": "A sentence.", "voice": "alloy", "response_format": name}
    FORMATS[name].check(at.post("/audio/speech", json=asked).content, at_least_s=0.5)


@pytest.mark.parametrize("model", ["whisper-1"])
def test_n8n_transcribes(at: Home, clip: Path, model: str) -> None:
    fields = {"model": model, "language": "en", "temperature": "0"}
    files = {"file": ("data.wav", clip.read_bytes(), "audio/wav")}
    answer = at.post("/audio/transcriptions", data=fields, files=files)
    assert likeness(SPOKEN, answer.json()["text"]) > HEARD


def test_n8n_is_told_why_it_cannot_translate_here(at: Home, clip: Path) -> None:
    files = {"file": ("data.wav", clip.read_bytes(), "audio/wav")}
    answer = at.post("/audio/translations", data={"model": "whisper-1"}, files=files)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_cannot_translate")


# LibreChat.


def test_librechat_gets_a_text(at: Home, clip: Path) -> None:
    files = {"file": ("audio.wav", clip.read_bytes(), "audio/wav")}
    answer = at.post(
        "/audio/transcriptions", data={"model": "whisper-1", "language": "en"}, files=files
    )
    assert likeness(SPOKEN, answer.json()["text"].strip()) > HEARD


def test_librechat_takes_silence_for_a_failure_which_it_is_not(at: Home) -> None:
    """A text that is empty is an error there, and right for every other client."""
    silence = bytes(canonical_wav(1)[:44]) + bytes(32_000)
    files = {"file": ("audio.wav", silence, "audio/wav")}
    answer = at.post("/audio/transcriptions", data={"model": "whisper-1"}, files=files)
    assert (answer.status_code, answer.json()["text"]) == (200, "")


def test_librechats_pieces_of_a_thousand_characters_are_one_mp3(at: Home) -> None:
    """Texts beyond OpenAI's limit it cuts, and writes the answers one behind the other."""
    text = " ".join(f"This is sentence number {number} of a long text." for number in range(36))
    pieces = list(cut(text, 1000))
    assert len(pieces) == 2
    answers = [
        at.post("/audio/speech", json={"input": piece, "model": "tts-1", "voice": "alloy",
                                       "backend": "xtts"})
        for piece in pieces
    ]  # fmt: skip
    assert {answer.headers["Content-Type"] for answer in answers} == {"audio/mpeg"}
    alone = sum(probed(answer.content).seconds for answer in answers)
    joined = FORMATS["mp3"].check(
        b"".join(answer.content for answer in answers), at_least_s=60, at_most_s=900
    )
    assert joined.seconds == pytest.approx(alone, rel=0.01)


def cut(text: str, most: int) -> Iterator[str]:
    """At the ends of words."""
    while len(text) > most:
        at = text.rindex(" ", 0, most)
        yield text[:at]
        text = text[at + 1 :]
    yield text


def test_a_key_that_nobody_has_filled_in_is_told_so(at: Home) -> None:
    for key in ("undefined", "", "null"):
        answer = at.post(
            "/audio/speech",
            headers={"Authorization": f"Bearer {key}"}, json={"input": "x", "voice": "alloy"},
        )  # fmt: skip
        assert answer.status_code == 401
        assert answer.json()["error"]["message"]


# Home Assistant's two custom components.


@pytest.mark.parametrize("prompt", ["", "A talk about the weather."])
def test_openai_stt_ha_hears(at: Home, clip: Path, prompt: str) -> None:
    """httpx makes a part of each field; it waits for ten seconds."""
    files = {
        "file": ("whisper_audio.wav", clip.read_bytes(), "audio/wav"),
        "model": (None, "whisper-1"),
        "language": (None, "en-US"),
        "prompt": (None, prompt),
        "temperature": (None, "0"),
        "response_format": (None, "json"),
    }
    answer = at.post("/audio/transcriptions", files=files)
    assert likeness(SPOKEN, answer.json().get("text", "").strip()) > HEARD


def test_openai_stt_ha_reads_every_refusal_without_a_look(at: Home) -> None:
    for headers, files in (
        (at.bearer, {"file": ("whisper_audio.wav", b"RIFF", "audio/wav")}),
        (at.bearer, {"model": (None, "whisper-1")}),
        ({"Authorization": "Bearer wrong"}, {"file": ("whisper_audio.wav", b"RIFF")}),
    ):
        answer = at.post("/audio/transcriptions", headers=headers, files=files)
        assert answer.status_code in (400, 401)
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize(("name", "streamed"), [("mp3", False), ("opus", True), ("wav", False)])
def test_openai_tts_speaks(at: Home, name: str, *, streamed: bool) -> None:
    asked = {
        "model": "gpt-4o-mini-tts",
        "input": "The washing machine is done.",
        "voice": "shimmer",
        "response_format": name,
        "speed": 1.0,
        "instructions": "Speak cheerfully.",
    }
    url = f"{at.v1}/audio/speech"
    with requests.post(
        url, json=asked, headers=at.bearer, stream=streamed, timeout=CLIENT_WITHIN_S
    ) as answer:
        FORMATS[name].check(b"".join(answer.iter_content(4096)), at_least_s=1.0)


def test_openai_tts_finds_the_voices_beside_the_address_of_speech(at: Home) -> None:
    payload: Any = at.get("/audio/voices?limit=100", **at.bearer).json()
    items = payload.get("items") or payload.get("data") or payload.get("voices")
    assert {MIA, "shimmer"} <= {voice.get("id") for voice in items}
    assert all(voice.get("name") for voice in items)


def test_what_is_recorded_here_is_json_as_it_was(at: Home) -> None:
    """requests and httpx write the same JSON for the same object; the gateway reads any."""
    asked = {"model": "tts-1", "input": "Viele Grüße an alle im Haus.", "voice": "alloy"}
    for ascii_ in (True, False):
        body = json.dumps(asked, ensure_ascii=ascii_).encode()
        headers = at.bearer | {"Content-Type": "application/json"}
        assert at.post("/audio/speech", headers=headers, data=body).ok
    assert at.magpie.texts == [asked["input"]] * 2

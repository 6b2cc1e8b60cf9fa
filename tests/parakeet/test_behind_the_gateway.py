"""The real servers behind the real gateway: our Parakeet with the Sortformer patch, and NeMo.

Their models are tiny and have random weights: what they write down is nonsense, but it is theirs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.api.conftest import Gateway, eventually, free_port, running
from tests.api.routed import PAIR, PATH
from tests.engine.conftest import Running
from tests.parakeet.conftest import APP, start
from tests.parakeet.in_process import TRANSCRIPTIONS
from tests.parakeet.test_real_server import VERBOSE, speech
from tests.sortformer.patched import PATCH, with_hook
from tests.tiny_models import tiny_models

KEY = "hunter2"
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def patched(
    parakeet_python: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Our server as the role patches it, which asks for a key."""
    folder = tmp_path_factory.mktemp("patched")
    app = folder / "app"
    shutil.copytree(APP, app, ignore=shutil.ignore_patterns("__pycache__"))
    (app / "main.py").write_text(with_hook((APP / "main.py").read_text()))
    for file in PATCH.glob("*.py"):
        shutil.copy(file, app)
    settings = {
        "PARAKEET_API_KEY": KEY,
        "SORTFORMER_DIR": str(folder / "s"),
        "SORTFORMER_MODEL": str(tiny_models() / "tiny-streaming.nemo"),
    }
    server = start(parakeet_python, folder, str(tiny_model), app, **settings)
    try:
        server.wait_until("ready")
        assert eventually(lambda: diarizer_is_ready(server), within_s=120), server.log.read_text()
        yield server
    finally:
        server.stop()


def diarizer_is_ready(server: Running) -> bool:
    url = f"{server.url}/v1/audio/diarize/health"
    return requests.get(url, headers=AUTHORIZED, timeout=30).status_code == 200


@pytest.fixture(scope="module")
def gateway(patched: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Registered as the roles do; WhisperX's container was removed, its registration was not."""
    state = tmp_path_factory.mktemp("gateway")
    folder = state / "services.d"
    folder.mkdir()
    urls = {"parakeet": patched.url, "sortformer": patched.url}
    urls["whisperx"] = f"http://127.0.0.1:{free_port()}"
    for name, kind in (("parakeet", "asr"), ("sortformer", "diarize"), ("whisperx", "speakers")):
        registration = {"kind": kind, "api": name, "base_url": urls[name]}
        registration |= {"api_key_file": f"{name}.key"}
        (folder / f"{name}.json").write_text(json.dumps(registration))
        (folder / f"{name}.key").write_text(KEY)
    with running(state, 1, WHISPERX_HOST="", SPEECH_WORKERS="1") as started:
        yield started


def said(answer: dict[str, Any]) -> str:
    return " ".join(segment["text"] for segment in answer["segments"])


def test_the_words_of_one_and_the_turns_of_the_other_are_one_conversation(
    gateway: Gateway, patched: Running
) -> None:
    audio = speech(40)
    response = gateway.transcribe(audio, PATH)
    assert (response.status_code, response.headers["x-served-by"]) == (200, PAIR), response.text
    answer = response.json()
    files = {"file": ("audio.wav", audio)}
    url = f"{patched.url}{TRANSCRIPTIONS}"
    alone = requests.post(url, VERBOSE, files=files, headers=AUTHORIZED, timeout=120).json()
    assert said(answer) == alone["text"] != ""
    assert answer["duration"] == 40.0
    assert 1 <= answer["speakers_detected"] <= 4
    assert all(0 <= s["start_ms"] <= s["end_ms"] <= 40_500 for s in answer["segments"])
    assert answer["models"] == {
        "transcription": "tiny-random",
        "diarization": "tiny-streaming (tells at most 4 people apart)",
    }


def test_where_nobody_asks_who_speaks_it_answers_alone_with_its_own_times(
    gateway: Gateway, patched: Running
) -> None:
    audio = speech(40)
    asked = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    response = gateway.transcribe(audio, **asked)
    assert (response.status_code, response.headers["x-served-by"]) == (200, "parakeet")
    url, files = f"{patched.url}{TRANSCRIPTIONS}", {"file": ("audio.wav", audio)}
    alone = requests.post(url, asked, files=files, headers=AUTHORIZED, timeout=120).json()
    answer = response.json()
    assert answer["text"] == alone["text"] != ""
    words = [[(w["word"], w["start"]) for w in it["words"]] for it in (answer, alone)]
    assert words[0] == words[1] != []


def test_a_stream_of_several_pieces_ends_with_the_same_shape(gateway: Gateway) -> None:
    registration = gateway.state / "services.d" / "parakeet.json"
    fields = json.loads(registration.read_text())
    registration.write_text(json.dumps(fields | {"max_audio_s": 15}))
    response = gateway.transcribe(speech(40), PATH, stream="true")
    sent = [json.loads(line) for line in response.iter_lines()]
    registration.write_text(json.dumps(fields))
    assert sent[-1]["type"] == "end", sent[-1]
    assert sum(line["type"] == "segments" for line in sent) == 3
    text = " ".join(said(line) for line in sent if line["type"] == "segments")
    assert said(sent[-1]["answer"]) == text != ""

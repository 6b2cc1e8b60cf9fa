"""The real process: NeMo, a tiny random model, real audio through it."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import yaml

from images.serving.probe_audio import speech_like
from tests.api.openai_document import problems
from tests.data import test_data
from tests.engine.conftest import Running
from tests.engine.made_audio import silence, wav
from tests.parakeet.conftest import ROOT, WINDOW_S
from tests.parakeet.in_process import TRANSCRIPTIONS

VERBOSE = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}


def speech(seconds: float) -> bytes:
    """A made voice."""
    return wav((speech_like(seconds) * 32767).astype(np.int16))


def transcribed(server: Running, audio: bytes, **fields: str) -> dict[str, Any]:
    answer = server.post(TRANSCRIPTIONS, audio, **fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture(scope="module")
def verbose(server: Running) -> dict[str, Any]:
    """The answer to a recording of several windows."""
    return transcribed(server, speech(3.2 * WINDOW_S), **VERBOSE)


def test_the_answers_have_the_shapes_of_openai_s_document(
    server: Running, verbose: dict[str, Any]
) -> None:
    document = yaml.safe_load(test_data("openai-audio-openapi.yaml").read_text(encoding="utf-8"))
    simple = transcribed(server, speech(2), model="whisper-1")
    refused = server.post(TRANSCRIPTIONS, b"").json()
    models = requests.get(f"{server.url}/v1/models", timeout=10).json()
    for body, name in (
        (simple, "CreateTranscriptionResponseJson"),
        (verbose, "CreateTranscriptionResponseVerboseJson"),
        (refused, "ErrorResponse"),
        (models, "ListModelsResponse"),
    ):
        if name in document["components"]["schemas"]:
            assert not list(problems(document, name, body))


def test_words_and_segments_are_in_order_and_within_the_recording(
    verbose: dict[str, Any],
) -> None:
    assert verbose["duration"] == 3.2 * WINDOW_S
    for spans in (verbose["words"], verbose["segments"]):
        assert len(spans) > 4
        assert all(0 <= one["start"] <= one["end"] <= verbose["duration"] for one in spans)
        assert all(before["start"] <= after["start"] for before, after in pairwise(spans))
    assert verbose["words"][-1]["start"] > 2 * WINDOW_S


def test_segments_are_made_of_the_words(verbose: dict[str, Any]) -> None:
    words = " ".join(word["word"] for word in verbose["words"])
    assert " ".join(segment["text"] for segment in verbose["segments"]) == words
    assert verbose["text"] == words
    assert all(word["word"] == word["word"].strip() != "" for word in verbose["words"])
    assert all(segment["tokens"] for segment in verbose["segments"])


def test_a_clip_of_less_than_a_second_keeps_its_times(server: Running) -> None:
    # NeMo pads it on both sides and counts from there, were it left to do so.
    body = transcribed(server, speech(0.4), **VERBOSE)
    assert body["duration"] == 0.4
    assert all(word["end"] <= 0.4 for word in body["words"])


def test_silence_is_no_error(server: Running) -> None:
    assert isinstance(transcribed(server, silence(2))["text"], str)


def test_memory_does_not_grow_with_the_recording(server: Running) -> None:
    def peak_bytes() -> int:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        line = next(row for row in status.splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    transcribed(server, speech(2 * WINDOW_S))
    before = peak_bytes()
    body = transcribed(server, speech(400), **VERBOSE)
    starts = [word["start"] for word in body["words"]]
    assert starts == sorted(starts)
    assert starts[-1] > 380
    # One of the model's 4 x 5000 x 5000 attention matrices alone would take 400 MB.
    assert peak_bytes() - before < 100e6


def test_cuda_graphs_are_off_in_the_model_s_own_configuration_and_stay_off(
    parakeet_python: Path, tiny_model: Path, tmp_path: Path
) -> None:
    program = f"""
from pathlib import Path
import numpy as np
from images.parakeet.app.recogniser import Parakeet
from images.parakeet.app.settings import ParakeetSettings
model, spool = {str(tiny_model)!r}, Path({str(tmp_path)!r})
settings = ParakeetSettings(model=model, device="cpu", spool_dir=spool)
settings.spool.mkdir()
recogniser = Parakeet.load(settings)
assert not list(settings.spool.iterdir())
model = recogniser._model
def look():
    computer = model.decoding.decoding.decoding_computer
    print(model.cfg.decoding.greedy.use_cuda_graph_decoder, computer.allow_cuda_graphs,
          computer.cuda_graphs_mode, model.joint.preserve_memory)
look()
recogniser.hear(np.zeros(32000, dtype=np.float32))
model.change_decoding_strategy(None, verbose=False)
look()
"""
    done = subprocess.run(
        [parakeet_python, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-2:] == 2 * ["False False None False"], done.stderr


def test_health_answered_while_the_model_was_loaded(server: Running) -> None:
    assert server.first_health["status"] == "loading"
    health = server.health()
    assert (health["status"], health["model"], health["device"]) == ("ready", "tiny-random", "cpu")
    assert health["in_flight"] == 0


def test_nothing_is_left_in_the_spool(server: Running) -> None:
    server.wait_until_idle()
    assert server.left_files() == []

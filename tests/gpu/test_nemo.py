"""The Parakeet server and the Sortformer patch on a GPU, with tiny models of random weights."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from images.serving.probe_audio import speech_like
from tests.engine.conftest import Running
from tests.engine.made_audio import wav
from tests.gpu.conftest import MIB, ROOT, modules_on_path, used_bytes
from tests.parakeet.conftest import start
from tests.parakeet.in_process import TRANSCRIPTIONS
from tests.sortformer.patched import Parakeet
from tests.tiny_models import tiny_models

WINDOW_S = 20
WORDS = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}


def speech(seconds: float) -> bytes:
    return wav((speech_like(seconds) * 32767).astype(np.int16))


@pytest.fixture(scope="module")
def server(cuda_nemo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A Parakeet server on the GPU."""
    model = tiny_models() / "tiny-random.nemo"
    running = start(
        cuda_nemo,
        tmp_path_factory.mktemp("cuda"),
        str(model),
        PARAKEET_DEVICE="cuda",
        PARAKEET_WINDOW_S=str(WINDOW_S),
    )
    try:
        running.wait_until("ready")
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def diarizer(cuda_nemo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parakeet]:
    """A patched server whose diarizer is on the GPU."""
    model = tiny_models() / "tiny-streaming.nemo"
    folder = tmp_path_factory.mktemp("patched")
    with Parakeet(folder, model=model, python=cuda_nemo, real=True) as running:
        running.wait_until("ready")
        yield running


def transcribed(server: Running, seconds: float) -> dict[str, Any]:
    answer = server.post(TRANSCRIPTIONS, speech(seconds), **WORDS)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def turns(diarizer: Parakeet, content: bytes) -> dict[str, Any]:
    answer = diarizer.post(content)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_parakeet_s_model_is_on_the_gpu(server: Running) -> None:
    assert server.health()["device"] == "cuda"
    assert transcribed(server, 30)["words"]


def test_parakeet_works_in_windows_whose_memory_does_not_grow(server: Running) -> None:
    transcribed(server, 3 * WINDOW_S)
    before = used_bytes()
    body = transcribed(server, 1800)
    starts = [word["start"] for word in body["words"]]
    assert starts == sorted(starts)
    assert starts[-1] > 1780
    assert used_bytes() - before < 64 * MIB


_HAZARDS = """
import io, json, sys
from pathlib import Path
import torch
from images.parakeet.app.recogniser import Parakeet
from images.parakeet.app.settings import ParakeetSettings
from images.serving.probe_audio import speech_like
settings = ParakeetSettings(model=sys.argv[1], device="cuda", spool_dir=Path(sys.argv[2]))
settings.spool.mkdir()
recogniser = Parakeet.load(settings)
model = recogniser._model
sound = speech_like(30.0)
def look():
    computer = model.decoding.decoding.decoding_computer
    return [computer.allow_cuda_graphs, str(computer.cuda_graphs_mode), str(model.device)]
found = {"before": look(), "heard": [len(recogniser.hear(sound))]}
kept = io.BytesIO()
torch.save({str(number): torch.zeros(9) for number in range(9)}, kept)  # NeMo#15423
for _ in range(5):  # NeMo#14727
    torch.cuda.empty_cache()
    found["heard"].append(len(recogniser.hear(sound)))
    kept.seek(0)
    found["loaded"] = len(torch.load(kept))
torch.cuda.synchronize()
found["after"] = look()
print(json.dumps(found))
"""


def test_without_cuda_graphs_neither_torch_load_nor_an_emptied_cache_breaks_parakeet(
    cuda_nemo: Path, tmp_path: Path
) -> None:
    model = str(tiny_models() / "tiny-random.nemo")
    done = subprocess.run(
        [str(cuda_nemo), "-c", _HAZARDS, model, str(tmp_path)],
        cwd=ROOT,
        env=modules_on_path(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["before"] == found["after"] == [False, "None", "cuda:0"]
    assert len(set(found["heard"])) == 1
    assert found["heard"][0] > 0
    assert found["loaded"] == 9


def test_sortformer_is_on_the_gpu_and_keeps_nothing_from_one_recording_to_the_next(
    diarizer: Parakeet, sample_wav: Path
) -> None:
    assert diarizer.health()["device"] == "cuda:0"
    first = turns(diarizer, sample_wav.read_bytes())
    assert len(first["segments"]) > 10
    assert first["speakers_detected"] > 1
    assert turns(diarizer, sample_wav.read_bytes()) == first


def test_ninety_minutes_of_speakers_take_less_than_is_reckoned_with(
    diarizer: Parakeet, sample_wav: Path
) -> None:
    call = np.frombuffer(sample_wav.read_bytes()[-960_000:], dtype="<i2")
    before = used_bytes()
    body = turns(diarizer, wav(np.tile(call, 180)))
    assert body["duration"] == 5400
    assert body["segments"][-1]["end"] > 5380
    # NeMo keeps what it took: this is the peak, rounded by torch's cache.
    assert used_bytes() - before < 1024 * MIB + 5400 * 800_000


def test_parakeet_and_sortformer_share_a_gpu(
    server: Running, diarizer: Parakeet, sample_wav: Path
) -> None:
    call = sample_wav.read_bytes()
    words, speakers = transcribed(server, 120), turns(diarizer, call)
    with ThreadPoolExecutor(8) as pool:
        heard = [pool.submit(transcribed, server, 120) for _ in range(4)]
        told = [pool.submit(turns, diarizer, call) for _ in range(4)]
        assert all(one.result() == words for one in heard)
        assert all(one.result() == speakers for one in told)

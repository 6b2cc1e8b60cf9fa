"""The WhisperX server on a GPU."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from tests.engine.conftest import Running, part, start, wait_for
from tests.engine.made_audio import wav
from tests.gpu.conftest import MIB, modules_on_path, used_bytes
from tests.gpu.kinds import ABORTED, LOSSES

SPEAKERS = "/v1/audio/transcribe-with-speakers"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
FATAL_EXIT_CODE = 70
RAISED = "assertion"
"""The loss that CTranslate2 was seen to raise and not to abort over."""


def samples(path: Path) -> NDArray[np.int16]:
    return np.frombuffer(path.read_bytes()[-960_000:], dtype="<i2")


def conversation(engine: Running, sound: bytes | Path, **fields: str) -> dict[str, Any]:
    answer = engine.post(SPEAKERS, sound, words="true", **fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def spoken(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """Each word, plain, and who says it."""
    return [
        ("".join(filter(str.isalnum, word)).lower(), segment["speaker"])
        for segment in answer["segments"]
        for word in segment["text"].split()
    ]


def status(engine: Running) -> str:
    try:
        return str(engine.health()["status"])
    except requests.ConnectionError:
        return ""


def test_the_models_are_on_the_gpu(engine: Running) -> None:
    health = engine.health()
    assert (health["device"], health["status"]) == ("cuda", "ready")
    assert health["alignment"] == "wav2vec2: none loaded yet"
    assert health["whisper_loaded"]
    assert health["diarizer_loaded"]
    maps = Path(f"/proc/{engine.process.pid}/maps").read_text()
    assert "libcublas.so.1" in maps
    assert "libcuda.so" in maps


def test_words_and_speakers_are_those_of_the_cpu(
    engine: Running, cuda_python: Path, sample_wav: Path, tmp_path: Path
) -> None:
    ours = spoken(conversation(engine, sample_wav))
    cpu = start(cuda_python, tmp_path, {"ENGINE_DEVICE": "cpu", "ENGINE_COMPUTE_TYPE": "float32"})
    try:
        cpu.wait_until("ready")
        theirs = spoken(conversation(cpu, sample_wav))
    finally:
        cpu.stop()
    assert len(theirs) > 60
    same = set(enumerate(ours)) & set(enumerate(theirs))
    assert ours == theirs or len(same) > 0.9 * len(theirs)
    assert {speaker for _, speaker in ours} == {"Speaker_0", "Speaker_1"}


def test_requests_at_the_same_time_get_what_they_get_alone(
    engine: Running, sample_wav: Path
) -> None:
    clips = [part(sample_wav, at, 9) for at in (0, 4, 8, 12, 16, 20)]
    alone = [conversation(engine, clip) for clip in clips]
    with ThreadPoolExecutor(len(clips)) as pool:
        together = list(pool.map(lambda clip: conversation(engine, clip), clips))
    assert together == alone


def test_a_clip_goes_before_the_rest_of_a_long_recording(engine: Running, sample_wav: Path) -> None:
    hour = wav(np.tile(samples(sample_wav), 120))
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(conversation, engine, hour)
        wait_for(lambda: bool(engine.health()["progress"]))
        assert conversation(engine, part(sample_wav, 5, 9))["segments"]
        assert not long.done()
        assert long.result()["duration"] == 3600


def test_memory_of_the_gpu_does_not_grow_with_requests(engine: Running, sample_wav: Path) -> None:
    lengths = [3, 9, 17, 30, 5, 26, 12, 21]
    mixed = [part(sample_wav, 0, seconds) for seconds in lengths]
    long = wav(np.tile(samples(sample_wav), 20))

    def work() -> int:
        for clip in mixed:
            conversation(engine, clip)
        conversation(engine, long)
        return used_bytes()

    first = max(work() for _ in range(2))
    assert max(work() for _ in range(5)) - first < 64 * MIB


def test_dropped_models_give_the_gpu_s_memory_back_and_are_loaded_again(
    cuda_python: Path, sample_wav: Path, tmp_path: Path
) -> None:
    environ = {"ENGINE_DEVICE": "cuda", "ENGINE_UNLOAD_AFTER_MIN": "0.1"}
    engine = start(cuda_python, tmp_path, environ)
    try:
        engine.wait_until("ready")
        first = conversation(engine, sample_wav)
        full = used_bytes()
        wait_for(lambda: status(engine) == "unloaded")
        wait_for(lambda: used_bytes() < full - 100 * MIB)
        assert conversation(engine, sample_wav) == first
    finally:
        engine.stop()


def test_a_gpu_that_is_not_given_to_the_process_is_missed_at_the_start(
    cuda_python: Path, tmp_path: Path
) -> None:
    environ = {"ENGINE_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": ""}
    engine = start(cuda_python, tmp_path, environ)
    assert engine.process.wait(60) == 2
    assert "sees no GPU" in engine.log.read_text()


HOG = """
from tests.gpu.faults import Shortage
import torch
torch.zeros(1, device="cuda")
taken = Shortage()
print("full", flush=True)
input()
"""


def test_who_finds_the_gpu_full_is_told_so_and_the_engine_lives(
    cuda_python: Path, sample_wav: Path, tmp_path: Path
) -> None:
    engine = start(cuda_python, tmp_path, {"ENGINE_DEVICE": "cuda"})
    long = wav(np.tile(samples(sample_wav), 20))
    try:
        engine.wait_until("ready")
        with subprocess.Popen(
            [cuda_python, "-c", HOG],
            env=modules_on_path(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as hog:
            assert hog.stdout is not None
            assert hog.stdout.readline() == b"full\n"
            refused = engine.post(SPEAKERS, long)
            hog.kill()
        assert refused.status_code == 503, refused.text
        assert refused.json()["error"]["code"] == "out_of_memory"
        assert engine.health()["status"] == "ready"
        assert conversation(engine, long)["segments"]
    finally:
        engine.stop()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_gpu_that_is_lost_ends_the_process_where_that_is_wished(
    cuda_python: Path, sample_wav: Path, tmp_path: Path, loss: str
) -> None:
    environ = {"ENGINE_DEVICE": "cuda", "ENGINE_FATAL_EXIT": "true"}
    engine = start(cuda_python, tmp_path, environ, module="tests.gpu.losing_engine")
    try:
        engine.wait_until("ready")
        try:
            lost = engine.post(SPEAKERS, part(sample_wav, 5, 9), prompt=loss)
        except requests.ConnectionError:
            # CTranslate2 aborts the process over some of them (test_faults.py).
            assert engine.process.wait(60) == ABORTED
            assert "CUDA failed with error" in engine.log.read_text()
        else:
            assert lost.json()["error"]["code"] == "engine_fatal"
            assert engine.process.wait(60) == FATAL_EXIT_CODE
    finally:
        engine.stop()


def test_after_a_lost_gpu_nothing_touches_it_and_health_says_so(
    cuda_python: Path, sample_wav: Path, tmp_path: Path
) -> None:
    environ = {"ENGINE_DEVICE": "cuda"}
    engine = start(cuda_python, tmp_path, environ, module="tests.gpu.losing_engine")
    clip = part(sample_wav, 5, 9)
    try:
        engine.wait_until("ready")
        assert conversation(engine, clip)["segments"]
        for prompt in (RAISED, "a good morning"):
            lost = engine.post(TRANSCRIPTIONS, clip, prompt=prompt)
            assert lost.status_code == 503, lost.text
            assert lost.json()["error"]["code"] == "engine_fatal"
        answer = requests.get(f"{engine.url}/health", timeout=10)
        assert (answer.status_code, answer.json()["status"]) == (503, "fatal")
        assert engine.process.poll() is None
    finally:
        engine.stop()


@pytest.fixture(scope="module")
def pyannote(cuda_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """pyannote from a folder, on the GPU."""
    folder = tmp_path_factory.mktemp("pyannote")
    environ = {"ENGINE_DEVICE": "cuda", "ENGINE_PYANNOTE_MODEL": str(folder / "pipeline")}
    running = start(cuda_python, folder, environ, module="tests.standins.engine_pyannote_folder")
    try:
        running.wait_until("ready")
        yield running
    finally:
        running.stop()


def test_pyannote_tells_speakers_apart_on_the_gpu(pyannote: Running, sample_wav: Path) -> None:
    assert pyannote.health()["device"] == "cuda"
    answer = conversation(pyannote, sample_wav, num_speakers="2")
    assert answer["models"]["diarization"] == "pyannote pipeline"
    assert answer["speakers_detected"] == 2
    assert conversation(pyannote, sample_wav, num_speakers="2") == answer


def test_words_are_aligned_on_the_gpu_as_on_the_cpu(
    cuda_python: Path, sample_wav: Path, tmp_path: Path
) -> None:
    times = {}
    for device in ("cuda", "cpu"):
        folder = tmp_path / device
        folder.mkdir()
        environ = {
            "ENGINE_DEVICE": device,
            "ENGINE_ALIGN": "on",
            "ENGINE_ALIGN_MODELS": f"en={folder / 'aligner'}",
        }
        engine = start(
            cuda_python, folder, environ, module="tests.standins.engine_alignment_models"
        )
        try:
            engine.wait_until("ready")
            answer = conversation(engine, part(sample_wav, 5, 9))
        finally:
            engine.stop()
        assert answer["models"]["alignment"] == "wav2vec2 aligner"
        assert "warnings" not in answer
        words = [word for segment in answer["segments"] for word in segment["words"]]
        times[device] = [word["start"] for word in words]
        assert times[device] == sorted(times[device])
        assert len(times[device]) > 10

"""NeMo's own Sortformer with tiny random weights, in the process that the patch starts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.made_audio import silence, wav
from tests.sortformer.audio import encoded
from tests.sortformer.patched import PATCH, Parakeet, kill, lives, wait_for

GIB = 1024**3


def turns(server: Parakeet, content: bytes) -> dict[str, Any]:
    """The answer, checked for what holds of every one."""
    answer = server.post(content)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) == {"duration", "speakers_detected", "segments", "model"}
    starts = [segment["start"] for segment in body["segments"]]
    assert starts == sorted(starts)
    for segment in body["segments"]:
        assert set(segment) == {"start", "end", "speaker"}
        assert 0 <= segment["start"] < segment["end"] <= body["duration"]
        assert segment["speaker"] in {f"speaker_{number}" for number in range(4)}
    assert body["speakers_detected"] == len({one["speaker"] for one in body["segments"]})
    return body


def test_a_call_of_30_seconds_has_turns(nemo_server: Parakeet, sample: bytes) -> None:
    body = turns(nemo_server, sample)
    assert body["duration"] == 30
    assert body["model"] == "tiny-streaming"
    assert len(body["segments"]) > 10
    assert body["speakers_detected"] > 1
    assert turns(nemo_server, sample) == body  # nothing is kept from one recording to the next


def test_short_silent_and_coded_recordings_are_taken(nemo_server: Parakeet) -> None:
    for content, seconds in (
        (silence(0.05), 0.05),
        (silence(5), 5),
        (encoded("flac", "flac", 4), 4),
        (encoded("mp3", "libmp3lame", 4), 4),
        (encoded("mp4", "aac", 4), 4),
    ):
        assert turns(nemo_server, content)["duration"] == pytest.approx(seconds, abs=0.1)


def test_torch_is_in_the_diarizer_s_process_and_not_in_parakeet_s(
    nemo_server: Parakeet,
) -> None:
    def has_torch(pid: int) -> bool:
        return "libtorch" in Path(f"/proc/{pid}/maps").read_text()

    assert has_torch(nemo_server.health()["pid"])
    assert not has_torch(nemo_server.process.pid)


def test_memory_grows_by_less_than_is_reckoned_with(nemo_server: Parakeet, sample: bytes) -> None:
    """Six minutes; a model that looked at all of it at once would take 4 GiB."""

    def peak(pid: int) -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    pid = nemo_server.health()["pid"]
    before = peak(pid)
    body = turns(nemo_server, wav_of(sample, times=12))
    assert body["duration"] == 360
    assert body["segments"][-1]["end"] > 330
    assert peak(pid) - before < GIB
    assert nemo_server.health()["pid"] == pid


def wav_of(sample: bytes, times: int) -> bytes:
    """The recording again and again."""
    return wav(np.tile(np.frombuffer(sample[-960_000:], dtype="<i2"), times))


def test_a_client_that_leaves_in_the_middle_leaves_the_model_as_it_was(
    nemo_server: Parakeet, sample: bytes
) -> None:
    before = turns(nemo_server, sample)
    with nemo_server.uploading(wav_of(sample, times=60)):
        wait_for(lambda: nemo_server.health().get("work", {}).get("done_s", 0) > 27)
    wait_for(lambda: not nemo_server.health()["busy"])
    assert turns(nemo_server, sample) == before


def test_the_diarizer_is_killed_and_comes_back_with_its_model(
    nemo_server: Parakeet, sample: bytes
) -> None:
    pid = nemo_server.health()["pid"]
    kill(pid)
    assert nemo_server.transcribes()
    wait_for(lambda: not lives(pid))
    nemo_server.wait_until("ready")
    assert turns(nemo_server, sample)["segments"]


def test_the_offline_model_works_up_to_its_limit(
    nemo_python: Path, tiny_models: Path, tmp_path: Path, sample: bytes
) -> None:
    model = tiny_models / "tiny-offline.nemo"
    with Parakeet(tmp_path, model=model, python=nemo_python, real=True) as server:
        health = server.wait_until("ready")
        assert (health["mode"], health["max_seconds"]) == ("offline", 480)
        assert turns(server, sample)["segments"]
        answer = server.post(silence(481))
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "audio_too_long"


_IN_PROCESS = """
import json, pathlib, sys
from diarizer import STREAMING, SortformerDiarizer
model, folder = sys.argv[1], pathlib.Path(sys.argv[2])
found = {}
for name in ("dihard3", "callhome", "none"):
    diarizer = SortformerDiarizer(model, post_processing=name)
    found[name] = diarizer.diarize(folder / "call.wav", 30.0)
modules = diarizer._model.sortformer_modules
found["streaming"] = {key: getattr(modules, key) == value for key, value in STREAMING.items()}
print(json.dumps(found))
"""


def test_thresholds_and_streaming_parameters_reach_nemo(
    nemo_python: Path, tiny_models: Path, tmp_path: Path, sample: bytes
) -> None:
    model = tiny_models / "tiny-streaming.nemo"
    (tmp_path / "call.wav").write_bytes(sample)
    done = subprocess.run(
        [nemo_python, "-c", _IN_PROCESS, model, tmp_path],
        cwd=PATCH,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert all(found["streaming"].values())
    shortest = {
        name: min(turn["end"] - turn["start"] for turn in found[name])
        for name in ("dihard3", "callhome", "none")
    }
    assert shortest["callhome"] > 0.5  # its min_duration_on
    assert shortest["dihard3"] < 0.5
    assert len({len(found[name]) for name in shortest}) == 3

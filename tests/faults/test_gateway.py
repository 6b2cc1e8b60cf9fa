"""Services and clients that break off, disks that fill up, processes that end: the gateway is real.

The numbers are those of the list of faults in docs/architecture.md. More on each is in tests/api.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from requests_toolbelt import MultipartEncoder

from proxy_app.api import audio_jobs
from proxy_app.app import create_app
from proxy_app.services import Places
from tests.api.conftest import eventually, running
from tests.api.recordings import canonical_wav
from tests.api.routed import AUDIO, PAIR, PATH, Routed, three_behind
from tests.standins.upstream_whisperx import StandIn


@pytest.fixture(scope="session")
def session_routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    limits = {"SPEECH_QUEUE_DEADLINE_S": "1", "SPEECH_TIME_LIMIT_FLOOR_S": "1"}
    state = tmp_path_factory.mktemp("routed")
    with three_behind(state, SPEECH_TIME_LIMIT_FACTOR="0", **limits) as routed:
        yield routed


@pytest.fixture
def routed(session_routed: Routed) -> Iterator[Routed]:
    session_routed.reset()
    yield session_routed
    for standin in session_routed.standins.values():
        standin.release.set()
    assert eventually(lambda: not session_routed.gateway.files())


def test_5_a_service_that_never_answers_costs_its_time_limit_and_no_more(routed: Routed) -> None:
    routed.whisperx.behave("hang")
    answer = routed.gateway.transcribe(AUDIO, PATH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "time_limit")
    assert routed.whisperx.hung_up.wait(10), "its work was ended"
    assert routed.gateway.get("/livez").status_code == 200


@pytest.mark.parametrize("behaviour", ["half", "torn"])
def test_6_and_7_a_connection_that_breaks_is_no_loss_while_others_can_answer(
    routed: Routed, behaviour: str
) -> None:
    """Fault 6 in the middle of the answer, fault 7 in the middle of the upload."""
    routed.whisperx.behave(behaviour)
    answer = routed.gateway.transcribe(AUDIO, PATH)
    assert (answer.status_code, answer.headers["x-served-by"]) == (200, PAIR)


def test_12_a_client_that_leaves_gives_everything_back(routed: Routed) -> None:
    routed.whisperx.behave("hang")
    places = Places(routed.gateway.state / "places")
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + AUDIO
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body) + 9}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    with routed.gateway.connect() as client:  # in the middle of its upload
        client.sendall(head.encode() + body[:150_000])
        assert eventually(routed.gateway.files)
    assert eventually(lambda: not routed.gateway.files())
    with routed.gateway.connect() as client:  # and while it waits for the answer
        client.sendall(head.encode() + body + b"\r\n--b--\r\n")
        assert routed.whisperx.started.wait(10)
        assert places.held_s("whisperx") is not None
    assert routed.whisperx.hung_up.wait(10)
    assert eventually(lambda: places.held_s("whisperx") is None)


def test_14_with_both_ways_down_the_answer_is_503(routed: Routed) -> None:
    routed.stop("whisperx")
    routed.parakeet.behave("500")
    for _ in range(2):
        answer = routed.gateway.transcribe(AUDIO, PATH)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
        assert answer.json()["error"]["code"] == "upstream_unavailable"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() != 0:
        pytest.skip("only root may mount a file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_11_a_full_disk_is_said_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    with (
        StandIn() as standin,
        running(
            tmp_path, standin.port, SPEECH_SPOOL_DIR=str(small_disk), SPEECH_WORKERS="1"
        ) as gateway,
    ):
        for _ in range(2):
            refused = gateway.transcribe(canonical_wav(300))
            assert (refused.status_code, refused.json()["error"]["code"]) == (507, "storage_full")
        assert list(small_disk.glob("*/*")) == []
        assert gateway.transcribe(canonical_wav(60)).status_code == 200
        assert standin.received[-1].path == "/v1/audio/transcriptions"
        assert len(standin.received) == 1


def test_11_a_job_that_the_disk_has_no_room_for_leaves_nothing_and_may_come_again(
    small_disk: Path, tmp_path: Path
) -> None:
    """The spool has room; the folder of the jobs has none but for a small one's."""
    (tmp_path / "audio-jobs").symlink_to(small_disk)
    with StandIn() as standin, running(tmp_path, standin.port, SPEECH_WORKERS="1") as gateway:
        url, named = f"{gateway.url}/v1/audio/jobs", {"Idempotency-Key": "the same"}
        files = {"file": ("a.wav", canonical_wav(5))}
        refused = requests.post(url, files=files, headers=named, timeout=20)
        assert (refused.status_code, refused.json()["error"]["code"]) == (507, "storage_full")
        assert int(refused.headers["Retry-After"]) > 0
        assert list(small_disk.iterdir()) == []
        assert eventually(lambda: not gateway.files())
        assert gateway.get("/v1/audio/jobs").json()["data"] == []
        larger = ["mount", "-o", "remount,size=600m", str(small_disk)]
        subprocess.run(larger, check=True)
        again = requests.post(url, files=files, headers=named, timeout=20)
        assert again.status_code == 202
        assert [path.name for path in small_disk.iterdir()] == [again.json()["id"]]


def test_11_a_quota_that_ends_in_the_middle_of_a_jobs_recording_leaves_nothing(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a quota leaves no look at the disk tells: the gateway finds out when it writes."""
    monkeypatch.setattr(audio_jobs, "_FREE_BYTES", -(1024**3))
    (tmp_path / "audio-jobs").symlink_to(small_disk)
    settings = {"SPEECH_STATE_DIR": str(tmp_path), "WHISPERX_HOST": "127.0.0.1"}
    client = create_app(settings).test_client()
    for seconds, status in ((300, 507), (60, 202)):
        form = MultipartEncoder({"file": ("a.wav", canonical_wav(seconds))})
        kind = form.content_type
        answer = client.post("/v1/audio/jobs", data=form.read(), content_type=kind)
        assert answer.status_code == status
        listed = client.get("/v1/audio/jobs").get_json()["data"]
        assert [path.name for path in small_disk.iterdir()] == [job["id"] for job in listed]
        assert len(listed) == (status == 202)
        assert list((tmp_path / "spool").glob("*/*")) == []


def test_18_a_gateway_that_is_told_to_end_finishes_what_it_has(tmp_path: Path) -> None:
    with StandIn() as standin, running(tmp_path, standin.port, SPEECH_WORKERS="1") as gateway:
        standin.behave("hang")
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(gateway.transcribe)
            assert standin.started.wait(10)
            gateway.process.send_signal(signal.SIGTERM)
            assert eventually(lambda: _refuses(gateway.port)), "it takes nothing new"
            threading.Timer(0.2, standin.release.set).start()
            assert answer.result().status_code == 200
        assert gateway.process.wait(30) == 0


def _refuses(port: int) -> bool:
    try:
        requests.get(f"http://127.0.0.1:{port}/livez", timeout=5)
    except requests.ConnectionError:
        return True
    return False

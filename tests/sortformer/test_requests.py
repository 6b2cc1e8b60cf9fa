"""What is sent, and what is answered: with the stand-in for NeMo, the rest being real."""

from __future__ import annotations

import socket
import stat
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.engine.made_audio import silence
from tests.sortformer.audio import encoded
from tests.sortformer.patched import Parakeet, standin_model, wait_for


def refused(answer: requests.Response) -> dict[str, Any]:
    """The error of an answer, in OpenAI's shape."""
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".")
    return {"status": answer.status_code, **error}


def test_turns_come_sorted_with_seconds_within_the_recording(
    server: Parakeet, sample: bytes
) -> None:
    answer = server.post(sample)
    assert answer.status_code == 200
    assert answer.json() == {
        "duration": 30.0,
        "speakers_detected": 2,
        "segments": [
            {"start": 0.0, "end": 15.0, "speaker": "speaker_0"},
            {"start": 15.0, "end": 30.0, "speaker": "speaker_1"},
            {"start": 29.75, "end": 30.0, "speaker": "speaker_0"},
        ],
        "model": "standin",
    }
    assert server.left_files() == ["lock", "socket"]


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("wav", "pcm_s16le"),
        ("flac", "flac"),
        ("mp3", "libmp3lame"),
        ("ogg", "libopus"),
        ("webm", "libopus"),
        ("mp4", "aac"),
        ("adts", "aac"),
    ],
)
def test_every_usual_format_is_decoded_whatever_its_name(
    server: Parakeet, container: str, codec: str
) -> None:
    answer = server.post(encoded(container, codec, 3), name="recording.txt")
    assert answer.status_code == 200, answer.text
    assert answer.json()["duration"] == pytest.approx(3, abs=0.1)


def test_a_recording_shorter_than_a_second_keeps_its_length(server: Parakeet) -> None:
    body = server.post(silence(0.3)).json()
    assert body["duration"] == 0.3
    assert max(segment["end"] for segment in body["segments"]) <= 0.3


def test_a_wav_whose_header_promises_more_is_read_as_far_as_it_goes(server: Parakeet) -> None:
    wav = bytearray(silence(2))
    struct.pack_into("<I", wav, 40, 2**31)
    answer = server.post(bytes(wav))
    assert answer.status_code == 200, answer.text
    assert answer.json()["duration"] == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "empty_file"),
        (b"These are words.", 415, "unsupported_format"),
        (b"#EXTM3U\nfile:///etc/passwd\n", 415, "unsupported_format"),
        (b"fLaC" + bytes(2000), 400, "invalid_audio"),
        (silence(0), 400, "invalid_audio"),
        (encoded("mp4", "aac", 2)[:300], 400, "invalid_audio"),
    ],
    ids=["empty", "text", "playlist", "broken-flac", "no-samples", "half-mp4"],
)
def test_what_is_no_recording_is_refused(
    server: Parakeet, content: bytes, status: int, code: str
) -> None:
    error = refused(server.post(content))
    assert (error["status"], error["code"], error["param"]) == (status, code, "file")
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"json": {"file": "x"}}, "invalid_form"),
        ({"data": {"file": "x"}}, "invalid_form"),
        ({"files": {"audio": b"RIFF"}}, "missing_file"),
        ({"files": [("file", b"one"), ("file", b"two")]}, "missing_file"),
        (
            {
                "data": b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nhalf",
                "headers": {"Content-Type": "multipart/form-data; boundary=b"},
            },
            "invalid_form",
        ),
        (
            {
                "data": b"no form at all",
                "headers": {"Content-Type": "multipart/form-data; boundary=b"},
            },
            "invalid_form",
        ),
        (
            {
                "data": b"--b\r\nX: " + 9000 * b"x",
                "headers": {"Content-Type": "multipart/form-data; boundary=b"},
            },
            "invalid_form",
        ),
    ],
    ids=["json", "urlencoded", "no-file", "two-files", "unfinished", "no-boundary", "long-header"],
)
def test_a_bad_form_is_refused(server: Parakeet, sent: dict[str, Any], code: str) -> None:
    answer = requests.post(f"{server.url}/v1/audio/diarize", timeout=60, **sent)
    assert refused(answer)["status"] == 400
    assert refused(answer)["code"] == code
    assert server.left_files() == ["lock", "socket"]


def test_an_upload_without_a_length_is_taken(server: Parakeet, sample: bytes) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    parts = iter([head, sample[:100_000], sample[100_000:], b"\r\n--b--\r\n"])
    answer = requests.post(
        f"{server.url}/v1/audio/diarize",
        data=parts,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
        timeout=60,
    )
    assert answer.json()["duration"] == 30


def test_limits_on_bytes_and_seconds_are_kept(tmp_path: Path) -> None:
    limits = {"SORTFORMER_MAX_BYTES": "300000", "SORTFORMER_MAX_SECONDS": "5"}
    with Parakeet(tmp_path, more=limits) as server:
        server.wait_until("ready")
        assert server.post(silence(4.9)).status_code == 200
        for content in (silence(5.1), encoded("flac", "flac", 6)):
            error = refused(server.post(content))
            assert (error["status"], error["code"]) == (413, "audio_too_long")
            assert "5 s" in error["message"]
        body = b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n" + bytes(400_000)
        for data in (body, iter([body])):  # with Content-Length, and without
            answer = requests.post(
                f"{server.url}/v1/audio/diarize",
                data=data,
                headers={"Content-Type": "multipart/form-data; boundary=b"},
                timeout=60,
            )
            error = refused(answer)
            assert (error["status"], error["code"]) == (413, "upload_too_large")
        assert server.left_files() == ["lock", "socket"]


def test_the_offline_model_refuses_what_its_memory_has_no_room_for(tmp_path: Path) -> None:
    with Parakeet(tmp_path, model=standin_model(tmp_path, streaming=False)) as server:
        assert server.wait_until("ready")["mode"] == "offline"
        assert server.post(silence(60)).status_code == 200
        error = refused(server.post(silence(481)))
    assert (error["status"], error["code"]) == (413, "audio_too_long")
    assert "480 s" in error["message"]
    assert "grows with its square" in error["message"]


def test_one_recording_at_a_time_and_a_bounded_queue(tmp_path: Path) -> None:
    slow = standin_model(tmp_path, step_s=0.4)
    with Parakeet(tmp_path, model=slow, more={"SORTFORMER_WAITING": "1"}) as server:
        server.wait_until("ready")
        answers: list[requests.Response] = []
        senders = [
            threading.Thread(target=lambda: answers.append(server.post(silence(200))))
            for _ in range(2)
        ]
        senders[0].start()
        wait_for(lambda: server.health()["busy"])
        senders[1].start()
        wait_for(lambda: server.health()["waiting"] == 1)
        began = server.health()["work"]["done_s"]
        error = refused(server.post(silence(1)))
        assert (error["status"], error["code"]) == (429, "queue_full")
        assert error["type"] == "rate_limit_error"
        wait_for(lambda: server.health().get("work", {}).get("done_s", 0) > began)
        for sender in senders:
            sender.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        assert not server.health()["busy"]


def test_a_client_that_leaves_ends_the_work_and_gives_its_place_back(tmp_path: Path) -> None:
    slow = standin_model(tmp_path, step_s=1)
    with Parakeet(tmp_path, model=slow, more={"SORTFORMER_WAITING": "1"}) as server:
        server.wait_until("ready")
        with server.uploading(silence(1200)):  # 45 s of work
            wait_for(lambda: server.health()["busy"])
            with server.uploading(silence(1200)):
                wait_for(lambda: server.health()["waiting"] == 1)
                assert server.post(silence(1)).status_code == 429
        wait_for(lambda: server.post(silence(1)).status_code == 200)
        health = server.health()
        assert (health["busy"], health["waiting"], health["restarts"]) == (False, 0, 0)
        assert health["queue"] == 1
        wait_for(lambda: server.left_files() == ["lock", "socket"])


def test_a_client_that_leaves_in_the_middle_of_its_upload_leaves_nothing(
    server: Parakeet,
) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /v1/audio/diarize HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nRIFF"
        )
        wait_for(lambda: len(server.left_files()) == 3)
    wait_for(lambda: server.left_files() == ["lock", "socket"])


def test_only_this_user_can_reach_the_socket_and_the_uploads(server: Parakeet) -> None:
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.folder / "socket").stat().st_mode) == 0o600


@pytest.mark.parametrize("middleware", [{}, {"STANDIN_REPLAY": "1"}], ids=["plain", "replay"])
def test_parakeet_transcribes_while_the_diarizer_works(
    tmp_path: Path, middleware: dict[str, str]
) -> None:
    with Parakeet(tmp_path, model=standin_model(tmp_path, step_s=0.3), more=middleware) as server:
        server.wait_until("ready")
        answers: list[requests.Response] = []
        sender = threading.Thread(target=lambda: answers.append(server.post(silence(200))))
        sender.start()
        wait_for(lambda: server.health()["busy"])
        while server.health()["busy"]:
            assert server.transcribes()
            time.sleep(0.1)
        sender.join()
        assert answers[0].status_code == 200

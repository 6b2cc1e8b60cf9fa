"""Files that are not what they should be, and clients that hang up, at the real engine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

from tests.engine.conftest import Running, wait_for
from tests.engine.made_audio import music, silence, wav
from tests.engine.meetings import joined

SPEAKERS = "/v1/audio/transcribe-with-speakers"
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"


@pytest.fixture(autouse=True)
def served_afterwards(engine: Running) -> Iterator[None]:
    """After each of these nothing is left of it, and the next request is served."""
    yield
    engine.wait_until_idle()
    wait_for(lambda: engine.left_files() == [])
    assert engine.post(SPEAKERS, silence(1)).status_code == 200
    assert engine.health()["status"] == "ready"


def refused(answer: requests.Response) -> str:
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    assert error["param"] == "file"
    assert error["message"]
    return str(error["code"])


def test_a_form_without_a_file(engine: Running) -> None:
    answer = requests.post(f"{engine.url}{SPEAKERS}", files={"other": b"x"}, timeout=30)
    assert refused(answer) == "missing_file"


def test_an_empty_file(engine: Running) -> None:
    assert refused(engine.post(SPEAKERS, b"")) == "empty_file"


def test_a_single_sample_is_an_honest_empty_result(engine: Running) -> None:
    answer = engine.post(SPEAKERS, wav(np.ones(1, dtype=np.int16)))
    assert answer.status_code == 200
    body = answer.json()
    assert (body["segments"], body["speakers_detected"]) == ([], 0)
    assert body["duration"] < 0.001


def test_text_with_the_name_of_a_wav(engine: Running) -> None:
    assert refused(engine.post(SPEAKERS, b"Dear Sir or Madam,\n")) == "unsupported_format"


def test_a_playlist_with_the_name_of_a_wav_opens_nothing(engine: Running) -> None:
    answer = engine.post(SPEAKERS, PLAYLIST)
    assert refused(answer) == "unsupported_format"
    assert "playlist" in answer.json()["error"]["message"]


def test_a_truncated_wav_is_transcribed_as_far_as_it_goes(
    engine: Running, short_wav: bytes
) -> None:
    cut = short_wav[: 44 + 5 * 32_000]
    body = engine.post(SPEAKERS, cut).json()
    assert body["duration"] == 5.0
    assert "didn't know you were there" in body["segments"][-1]["text"]


def test_a_header_that_claims_four_gigabytes_is_not_believed(engine: Running) -> None:
    samples = np.zeros(2 * 16_000, dtype=np.int16)
    body = engine.post(SPEAKERS, wav(samples, claims=0xFFFFFFFF)).json()
    assert (body["duration"], body["segments"]) == (2.0, [])


def test_32_channels(engine: Running) -> None:
    samples = np.zeros(32 * 16_000, dtype=np.int16)
    assert refused(engine.post(SPEAKERS, wav(samples, channels=32))) == "too_many_channels"


def test_music_without_a_voice_has_no_words_and_no_speakers(engine: Running) -> None:
    answer = engine.post(SPEAKERS, music(8))
    assert answer.status_code == 200
    body = answer.json()
    assert (body["duration"], body["segments"], body["speakers_detected"]) == (8.0, [], 0)


def test_an_unknown_response_format(engine: Running) -> None:
    answer = engine.post("/v1/audio/transcriptions", silence(1), response_format="docx")
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "response_format")
    assert "docx" in error["message"]


def test_half_sent_uploads_do_not_close_the_engine(engine: Running) -> None:
    head = f"POST {SPEAKERS} HTTP/1.1\r\nHost: engine\r\nContent-Length: 9000000\r\n"
    form = "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(12):  # many more than are worked on
            client = stack.enter_context(connected(engine))
            client.sendall((head + form).encode())
        wait_for(lambda: len(engine.left_files()) == 12)
        assert engine.post(SPEAKERS, silence(1)).status_code == 200


def test_a_client_that_hangs_up_in_the_middle_of_its_upload(engine: Running) -> None:
    with connected(engine) as client:
        client.sendall(request(silence(10), of_it=100_000))
        wait_for(lambda: any(path.stat().st_size for path in engine.left_files()))
    engine.wait_until_idle()


def test_a_client_that_hangs_up_while_its_audio_is_worked_on(
    engine: Running, sample_wav: Path, tmp_path: Path
) -> None:
    path = tmp_path / "long.wav"
    joined(path, 200, sample_wav)
    with connected(engine) as client:
        client.sendall(request(path.read_bytes()))
        wait_for(lambda: (engine.health()["progress"] or {"done_s": 0})["done_s"] > 0)
    done = [0.0]
    while engine.health()["in_flight"]:
        done.append((engine.health()["progress"] or {"done_s": 0})["done_s"])
    assert "the client hung up" in engine.log.read_text()
    assert "200.0 s of audio" not in engine.log.read_text()
    assert max(done) < 150  # it went on for a few steps at most


def connected(engine: Running) -> socket.socket:
    address = urlsplit(engine.url)
    return socket.create_connection((str(address.hostname), address.port or 0), timeout=30)


def request(content: bytes, *, of_it: int | None = None) -> bytes:
    """A request's bytes, or the first of them."""
    body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body += content + b"\r\n--B--\r\n"
    head = (
        f"POST {SPEAKERS} HTTP/1.1\r\nHost: engine\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=B\r\n\r\n"
    )
    return (head.encode() + body)[:of_it]

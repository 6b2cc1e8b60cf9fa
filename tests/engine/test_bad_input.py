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

from tests.api.recordings import encoded
from tests.engine.conftest import Running, wait_for
from tests.engine.made_audio import music, silence, wav
from tests.engine.meetings import joined

SPEAKERS = "/v1/audio/transcribe-with-speakers"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "playlist"),
        (b"\xef\xbb\xbf\n" + PLAYLIST, "playlist"),
        (b"[playlist]\nFile1=/etc/hostname\n", "playlist"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "SVG"),
        (b"<!doctype html><script>alert(1)</script>", "HTML"),
    ],
)
@pytest.mark.parametrize("path", [SPEAKERS, TRANSCRIPTIONS])
def test_a_list_or_a_document_named_wav_opens_nothing(
    engine: Running, path: str, content: bytes, said: str
) -> None:
    answer = engine.post(path, content)
    assert refused(answer) == "unsupported_format"
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "name", ["../../etc/x", "C:\\x", "%00.wav", "x" * 4000, "x.m3u8", "$(id).wav", "-i.wav"]
)
def test_a_name_is_never_used(engine: Running, name: str) -> None:
    assert engine.post(TRANSCRIPTIONS, silence(1), name).status_code == 200
    assert name not in engine.log.read_text()


def test_a_name_with_ends_of_lines_adds_no_header_and_no_field(engine: Running) -> None:
    name = b'a.wav"\r\nContent-Disposition: form-data; name="language"\r\n\r\nklingon'
    body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="' + name
    body += b'"\r\n\r\n' + silence(1) + b"\r\n--B--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = requests.post(engine.url + TRANSCRIPTIONS, data=body, headers=headers, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("invalid_form", "missing_file", "unsupported_format")


def test_hours_of_silence_in_a_small_file_are_refused(engine: Running) -> None:
    five_hours = encoded("flac", "flac", 5 * 3600.0, silence=True, rate=8000)
    assert len(five_hours) < 10_000_000
    answer = engine.post(SPEAKERS, five_hours)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "audio_too_long")


def test_forms_that_are_too_much_or_none(engine: Running) -> None:
    url, files = engine.url + TRANSCRIPTIONS, {"file": ("a.wav", silence(1))}
    long = requests.post(url, files=files, data={"prompt": "x" * 1_000_000}, timeout=30)
    assert (long.status_code, long.json()["error"]["code"]) == (400, "invalid_form")
    for boundary in ("", "; boundary=" + "b" * 300):
        headers = {"Content-Type": f"multipart/form-data{boundary}"}
        answer = requests.post(url, data=b"--b\r\n", headers=headers, timeout=30)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_form")
    many = [("x", (f"{number}", b"x")) for number in range(1001)]
    assert requests.post(url, files=many, timeout=30).status_code == 400


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

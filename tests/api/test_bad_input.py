"""What clients send by mistake or on purpose: a clear error, nothing left, the next one served."""

import contextlib
import io
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from requests_toolbelt import MultipartEncoder

from proxy_app.api import uploads
from proxy_app.app import create_app
from tests.api.conftest import Gateway, eventually, running
from tests.api.recordings import PLAYLIST, canonical_wav, claiming, encoded
from tests.standins.upstream_whisperx import StandIn

PATHS = ("/v1/audio/transcriptions", "/api/audio/transcribe-with-speakers")
HEAD = (
    "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Type: multipart/form-data; boundary=b\r\n"
)
PART = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


def assert_error(response: requests.Response, status: int, code: str, said: str = "") -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    error = response.json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["code"] == code
    assert said in error["message"]


def read_all(client: socket.socket) -> str:
    """Everything up to the end of the connection."""
    pieces = iter(lambda: client.recv(4096), b"")
    return b"".join(pieces).decode()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", (400, "empty_file", "empty")),
        (b"This is a text and no recording. " * 9, (400, "unsupported_format", "text")),
        (PLAYLIST, (400, "unsupported_format", "playlist")),
        (b"<svg onload='alert(1)'/>", (400, "unsupported_format", "SVG")),
        (os.urandom(16) + b"\0" * 500, (400, "unsupported_format", "not in an audio format")),
        (canonical_wav(1)[:44], (400, "invalid_audio", "damaged")),
        (canonical_wav(0), (400, "audio_too_short", "shorter")),
        (canonical_wav(1, 16_000, 32), (400, "too_many_channels", "32 channels")),
        (canonical_wav(61), (413, "audio_too_long", "60 s")),
        (encoded("flac", "flac", 600.0, silence=True), (413, "audio_too_long", "60 s")),
    ],
    ids=[
        "empty",
        "text",
        "m3u8",
        "svg",
        "noise",
        "header",
        "no samples",
        "32-channels",
        "long",
        "bomb",
    ],
)
def test_a_file_that_is_no_recording_is_refused(
    gateway: Gateway, standin: StandIn, path: str, data: bytes, error: tuple[int, str, str]
) -> None:
    response = gateway.transcribe(data, path)
    assert_error(response, *error)
    assert response.json()["error"]["param"] == "file"
    assert standin.received == [], "the service was bothered with it"
    assert gateway.transcribe(None, path).status_code == 200


@pytest.mark.parametrize(
    ("data", "duration"),
    [
        (canonical_wav(1 / 16_000), 0.0),
        (canonical_wav(2)[: 44 + 32_000], 1.0),
        (claiming(canonical_wav(2), 0xFFFFFFF0), 2.0),
    ],
    ids=["one-sample", "truncated", "claims-4-GB"],
)
def test_a_damaged_recording_is_served_as_far_as_it_goes(
    gateway: Gateway, data: bytes, duration: float
) -> None:
    answer = gateway.transcribe(data, PATHS[1]).json()
    assert answer["duration"] == pytest.approx(duration, abs=0.001)


@pytest.mark.parametrize("path", PATHS)
def test_a_form_without_a_file_is_refused(gateway: Gateway, path: str) -> None:
    files = {"other": ("a.wav", canonical_wav(1))}
    response = requests.post(gateway.url + path, data={"model": "x"}, files=files, timeout=20)
    assert_error(response, 400, "missing_file", "`file` is missing")


@pytest.mark.parametrize("name", ["file", "file[]", "file[0]"])
@pytest.mark.parametrize("size", [9, 400_000, 3_000_000])
def test_a_file_sent_as_text_is_refused_with_the_reason(
    gateway: Gateway, name: str, size: int
) -> None:
    body = MultipartEncoder([("model", "whisper-1"), (name, "x" * size)])
    headers = {"Content-Type": body.content_type}
    response = requests.post(gateway.url + PATHS[0], data=body, headers=headers, timeout=20)
    assert_error(response, 400, "missing_file", "`file` was sent as text: it needs a file name")
    assert response.json()["error"]["param"] == "file"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["file", "file[]", "file[0]"])
def test_a_file_is_read_with_brackets_too(gateway: Gateway, path: str, name: str) -> None:
    files = {name: ("a.wav", canonical_wav(1))}
    plain = gateway.transcribe(None, path).json()
    assert requests.post(gateway.url + path, files=files, timeout=20).json().keys() == plain.keys()
    twice = [*files.items(), ("file", ("b.wav", canonical_wav(1)))]
    response = requests.post(gateway.url + path, files=twice, timeout=20)
    assert_error(response, 400, "invalid_value", "Send one `file`")
    assert response.json()["error"]["param"] == "file"


def test_two_files_are_refused(gateway: Gateway) -> None:
    files = [("file", ("a.wav", canonical_wav(1))), ("file", ("b.wav", canonical_wav(1)))]
    assert_error(
        requests.post(gateway.url + PATHS[0], files=files, timeout=20), 400, "invalid_value"
    )


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "audio/wav", ""])
def test_a_body_that_is_no_form_is_refused_with_what_to_send(gateway: Gateway, kind: str) -> None:
    url = gateway.url + PATHS[0]
    response = requests.post(url, data=b'{"file": 1}', headers={"Content-Type": kind}, timeout=20)
    assert_error(response, 415, "unsupported_media_type", "multipart/form-data")


def test_a_compressed_body_is_refused(gateway: Gateway) -> None:
    headers = {"Content-Encoding": "gzip"}
    files = {"file": ("a.wav", canonical_wav(1))}
    response = requests.post(gateway.url + PATHS[0], files=files, headers=headers, timeout=20)
    assert_error(response, 415, "unsupported_content_encoding")


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=other"]
)
def test_a_form_with_the_wrong_boundary_is_refused(gateway: Gateway, content_type: str) -> None:
    body = f"{PART}abc\r\n--b--\r\n"
    headers = {"Content-Type": content_type}
    response = requests.post(gateway.url + PATHS[0], data=body, headers=headers, timeout=20)
    assert response.status_code == 400
    assert response.json()["error"]["code"] in ("broken_body", "missing_file")


def test_a_form_that_ends_in_the_middle_is_refused(gateway: Gateway) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = requests.post(gateway.url + PATHS[0], data=f"{PART}abc", headers=headers, timeout=20)
    assert_error(response, 400, "broken_body", "malformed")


def test_too_many_parts_are_refused(gateway: Gateway) -> None:
    files = [("x", (f"{number}", b"x")) for number in range(1001)]
    response = requests.post(gateway.url + PATHS[0], files=files, timeout=20)
    assert_error(response, 413, "request_too_large", "parts")


def test_no_sender_has_many_files_open_however_many_it_sends(strict_gateway: Gateway) -> None:
    def part(name: str, more: str) -> str:
        return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'

    unread = "".join(part(f"x{number}", '; filename="a"') + "x\r\n" for number in range(90))
    known = (part("known_speaker_references[]", "") + "data:,\r\n") * 4
    body = unread + known + part("file", '; filename="a"') + "x" * 70_000
    (worker,) = strict_gateway.workers()
    spool = str(strict_gateway.state / "spool")

    def is_open() -> list[str]:
        links = Path(f"/proc/{worker}/fd").iterdir()
        names = [str(link.readlink()) for link in links if link.is_symlink()]
        return [name for name in names if name.startswith(f"{spool}/worker-") and "upload" in name]

    with strict_gateway.connect() as client:
        client.sendall(f"{HEAD}Content-Length: 10000000\r\n\r\n{body}".encode())
        assert eventually(lambda: len(strict_gateway.files()) >= 5)
        assert (len(is_open()), len(strict_gateway.files())) == (1, 5)
        answer = read_all(client)
    assert answer.startswith("HTTP/1.1 408 "), "who falls silent is not waited for"
    assert eventually(lambda: not strict_gateway.files())


def test_too_much_text_is_refused(gateway: Gateway) -> None:
    assert_error(gateway.transcribe(prompt="x" * 1_000_000), 413, "request_too_large", "text")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\x.wav", "a\tb.wav", "x" * 4000, ".m3u8", "конференция.wav"]
)
def test_the_files_name_is_of_no_importance(gateway: Gateway, name: str) -> None:
    files = {"file": (name, canonical_wav(1))}
    response = requests.post(gateway.url + PATHS[0], files=files, timeout=20)
    assert response.status_code == 200
    assert not (gateway.state / "etc").exists()


def test_413_comes_before_the_body_is_read_where_a_length_is_given(gateway: Gateway) -> None:
    with gateway.connect() as client:
        client.sendall(f"{HEAD}Content-Length: 99999999999\r\n\r\n".encode())
        answer = read_all(client)
    assert answer.startswith("HTTP/1.1 413 ")
    assert "Connection: close" in answer


def test_requests_sees_the_413_of_a_large_upload(gateway: Gateway) -> None:
    response = gateway.transcribe(bytes(40_000_000))
    assert_error(response, 413, "request_too_large", str(4 * 1024 * 1024))
    assert gateway.transcribe().status_code == 200


def test_413_comes_at_the_limit_where_no_length_is_given(
    gateway: Gateway, standin: StandIn
) -> None:
    def endless() -> Iterator[bytes]:
        yield PART.encode()
        for _ in range(40):
            yield bytes(1_000_000)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = requests.post(gateway.url + PATHS[0], data=endless(), headers=headers, timeout=20)
    assert_error(response, 413, "request_too_large")
    assert standin.received == []


def test_a_chunked_upload_below_the_limit_is_served(gateway: Gateway) -> None:
    body = PART.encode() + canonical_wav(1) + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    pieces = (body[start : start + 5000] for start in range(0, len(body), 5000))
    response = requests.post(gateway.url + PATHS[0], data=pieces, headers=headers, timeout=20)
    assert response.status_code == 200


def test_a_client_that_hangs_up_in_the_middle_of_an_upload_leaves_nothing(
    gateway: Gateway, standin: StandIn
) -> None:
    with gateway.connect() as client:
        client.sendall(f"{HEAD}Content-Length: 1000000\r\n\r\n{PART}".encode() + bytes(300_000))
        assert eventually(gateway.files), "the upload was not spooled to disk"
        modes = {path.stat().st_mode & 0o777 for path in gateway.files()}
    assert modes == {0o600}
    assert eventually(lambda: not gateway.files())
    assert standin.received == []
    assert gateway.transcribe().status_code == 200


def test_a_client_that_hangs_up_while_the_service_works_stops_it(
    gateway: Gateway, standin: StandIn
) -> None:
    standin.behave("hang")
    body = PART.encode() + canonical_wav(1) + b"\r\n--b--\r\n"
    with gateway.connect() as client:
        client.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert standin.started.wait(10)
        (wav,) = gateway.files()  # the upload itself has made room
        assert wav.name.endswith("audio.wav")
    assert standin.hung_up.wait(10), "the service went on for nobody"
    assert eventually(lambda: not gateway.files())
    standin.behave("ok")
    assert gateway.transcribe().status_code == 200, "the place was not freed"


def test_a_client_that_falls_silent_gets_408(strict_gateway: Gateway) -> None:
    with strict_gateway.connect() as client:
        client.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n{PART}".encode())
        answer = read_all(client)
    assert answer.startswith("HTTP/1.1 408 ")
    assert "Connection: close" in answer
    assert "upload_timeout" in answer
    assert eventually(lambda: not strict_gateway.files())


def test_a_client_that_drips_gets_408(strict_gateway: Gateway) -> None:
    with strict_gateway.connect() as client:
        client.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n{PART}".encode())
        client.settimeout(0.1)  # never silent for long
        answer = b""
        while not answer:
            client.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer = client.recv(1)
        client.settimeout(10)
        answer += read_all(client).encode()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"too slow" in answer
    assert eventually(lambda: not strict_gateway.files())


def test_half_sent_uploads_close_neither_the_gateway_nor_its_health(
    standin: StandIn, tmp_path: Path
) -> None:
    settings = {"SPEECH_WORKERS": "1", "SPEECH_MAX_UPLOADS": "20"}
    start = f"{HEAD}Content-Length: 100000\r\n\r\n{PART}".encode()
    with running(tmp_path, standin.port, **settings) as gateway, contextlib.ExitStack() as clients:
        for _ in range(450):
            clients.enter_context(gateway.connect()).sendall(start)
        assert gateway.get("/livez").status_code == 200
        refused = gateway.transcribe()
        assert_error(refused, 503, "too_many_uploads")
        assert int(refused.headers["Retry-After"]) > 0
        clients.close()
        assert eventually(lambda: gateway.transcribe().status_code == 200)
        assert eventually(lambda: not gateway.files())


def test_every_upload_gives_its_place_back(strict_gateway: Gateway, standin: StandIn) -> None:
    for _ in range(41):
        assert_error(strict_gateway.transcribe(b"no recording"), 400, "unsupported_format")
    assert strict_gateway.transcribe().status_code == 200


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class FullDisk(uploads.SpoolFile):
        """Every write to this device fails as on a full disk."""

        def __init__(self, path: Path, *, hashed: bool = False) -> None:
            path.symlink_to("/dev/full")
            super().__init__(path, "r+", hashed=hashed)

    monkeypatch.setattr(uploads, "SpoolFile", FullDisk)
    app = create_app({"SPEECH_STATE_DIR": str(tmp_path)})
    data = {"file": (io.BytesIO(canonical_wav(1)), "a.wav")}
    response = app.test_client().post(PATHS[0], data=data)
    assert response.status_code == 507
    assert response.json is not None
    assert response.json["error"]["code"] == "storage_full"
    assert list((tmp_path / "spool").glob("*/*")) == []


def test_slow_clients_do_not_keep_others_waiting(strict_gateway: Gateway, standin: StandIn) -> None:
    clients = [strict_gateway.connect() for _ in range(20)]
    try:
        for client in clients:
            client.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n{PART}".encode())
        assert strict_gateway.transcribe().status_code == 200
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("chunks", ["zz\r\nabc\r\n", "-5\r\nabc\r\n", "3\r\nabcXX", "3;\x01\r\n"])
def test_broken_chunks_are_refused(gateway: Gateway, chunks: str) -> None:
    with gateway.connect() as client:
        client.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n{chunks}".encode())
        answer = read_all(client)
    assert answer.startswith("HTTP/1.1 400 ")
    assert "broken_body" in answer
    assert "Traceback" not in gateway.log.read_text()


def test_a_request_without_a_body_is_told_so(gateway: Gateway) -> None:
    with gateway.connect() as client:
        client.sendall(f"{HEAD}Connection: close\r\n\r\n".encode())
        answer = read_all(client)
    assert answer.startswith("HTTP/1.1 411 ")
    assert "neither Content-Length nor chunks" in answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: -1\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Expect: hunter2\r\n", 417),
        ("x: y\r\n" * 150, 431),
        ("x: " + "y" * 200_000 + "\r\n", 431),
        ("x: y\r\n folded\r\nContent-Length: 5\r\n", 400),
        ("x: y\nContent-Length: 5\r\n", 400),
        ("x: y\rz\r\nContent-Length: 5\r\n", 400),
        ("x: a\0b\r\nContent-Length: 5\r\n", 400),
        ("Content-Length : 5\r\n", 400),
        ("Content-Length: 5, 5\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: chunked, gzip\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n", 400),
        ("Host: evil.example\r\nContent-Length: 5\r\n", 400),
        ("Content-Type: application/json\r\nContent-Length: 5\r\n", 400),
        ("no header\r\nContent-Length: 5\r\n", 400),
        (": no name\r\nContent-Length: 5\r\n", 400),
    ],
    ids=[
        *("TE+CL", "two-CL", "negative", "coding", "expect", "many-headers", "long-header"),
        *("folded", "bare-LF", "bare-CR", "NUL", "blank-before-colon", "list-of-CL", "plus", "hex"),
        *("chunked-twice", "chunked-not-last", "coding-with-VT", "two-hosts", "two-types"),
        *("no-colon", "no-name"),
    ],
)
def test_what_is_no_usable_http_is_refused_in_the_same_shape(
    gateway: Gateway, head: str, status: int
) -> None:
    with gateway.connect() as client:
        client.sendall(f"{HEAD}{head}\r\nhello".encode())
        client.shutdown(socket.SHUT_WR)
        assert_raw_error(read_all(client), status)
    assert "hunter2" not in gateway.log.read_text()


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ],
)
def test_nothing_behind_what_is_refused_is_taken_for_a_request(gateway: Gateway, head: str) -> None:
    """Where two servers differ about a body's end, one of them finds a request in it."""
    hidden = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with gateway.connect() as client:
        client.sendall(f"{HEAD}{head}\r\n0\r\n\r\n{hidden}{hidden}".encode())
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).count("HTTP/1.1 ") == 1


def test_half_sent_heads_keep_nobody_waiting_and_are_hung_up(
    strict_gateway: Gateway, standin: StandIn
) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(strict_gateway.connect()) for _ in range(100)]
        for client in clients:
            client.sendall(HEAD.removesuffix("\r\n").encode())
        assert strict_gateway.transcribe().status_code == 200
        for client in clients:
            client.settimeout(60)
            assert read_all(client) == ""


def test_a_long_first_line_is_refused_in_the_same_shape(gateway: Gateway) -> None:
    with gateway.connect() as client:
        client.sendall(f"GET /{'x' * 100_000} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert_raw_error(read_all(client), 414)


def assert_raw_error(answer: str, status: int) -> None:
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert "Connection: close" in head
    error = json.loads(body)["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["code"] == "invalid_http"

"""Bad files, names and forms, at every path that takes a recording."""

import os
from collections.abc import Iterator

import pytest
import requests

from tests.api.conftest import Gateway, eventually
from tests.api.recordings import PLAYLIST, canonical_wav, claiming, encoded
from tests.standins.upstream_whisperx import StandIn

PATHS = {
    "/v1/audio/transcriptions": "file",
    "/v1/audio/translations": "file",
    "/api/audio/transcribe-with-speakers": "file",
    "/asr": "audio_file",
}
"""With the field of the recording."""
CONCAT = b"ffconcat version 1.0\nfile '/etc/passwd'\n"
HLS = PLAYLIST.replace(b"file:///etc/hostname", b"http://127.0.0.1:1/x.ts")
PLS = b"[playlist]\nFile1=/etc/hostname\n"
NAMES = [
    *("../../etc/x", "C:\\x", "a\\x00.wav", "%00.wav", "x" * 4096, "x.m3u8", "con.wav"),
    *("-i.wav", "$(id).wav", "a;id.wav", "{{ lookup('pipe','id') }}", "concat:/etc/passwd"),
]
RAW_NAMES = [
    *(b"a\x00.wav", b"\xff\xfe.wav", b'a"; filename="b.wav', b"a.wav\r\nX-Evil: 1"),
    b'a.wav"\r\nContent-Disposition: form-data; name="response_format"\r\n\r\ndocx',
]
"""What no HTTP library sends: NUL, no UTF-8, quotes, ends of lines and another part's head."""


@pytest.fixture(params=list(PATHS))
def path(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[str]:
    """Each path; afterwards it serves the next recording, and the log has no traceback."""
    found: str = request.param
    yield found
    assert post(gateway, found, canonical_wav(1)).status_code == 200
    assert "Traceback" not in gateway.log.read_text()
    assert eventually(lambda: not gateway.files())


def post(gateway: Gateway, path: str, data: bytes, name: str = "a.wav") -> requests.Response:
    files = {PATHS[path]: (name, data, "audio/wav")}
    return requests.post(gateway.url + path, files=files, timeout=20)


def raw(path: str, data: bytes, name: bytes, boundary: str = "b") -> bytes:
    """A form, byte for byte."""
    mark = boundary.encode()
    part = b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n'
    return part % (mark, PATHS[path].encode(), name) + data + b"\r\n--%s--\r\n" % mark


def send(gateway: Gateway, path: str, body: bytes, boundary: str = "b") -> requests.Response:
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return requests.post(gateway.url + path, data=body, headers=headers, timeout=20)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_never_used(gateway: Gateway, path: str, name: str) -> None:
    assert post(gateway, path, canonical_wav(1), name).status_code == 200
    assert name not in gateway.log.read_text()
    beyond = {file.name for file in gateway.state.parent.iterdir()} & {"x", "etc", "b.wav"}
    assert not beyond


@pytest.mark.parametrize("name", RAW_NAMES, ids=range(len(RAW_NAMES)))
def test_a_name_of_strange_bytes_is_none_or_a_broken_form(
    gateway: Gateway, path: str, name: bytes
) -> None:
    response = send(gateway, path, raw(path, canonical_wav(1), name))
    assert response.status_code in (200, 400), response.text
    assert "X-Evil" not in response.headers
    if response.status_code == 400:
        assert response.json()["error"]["code"] in (
            *("broken_body", "missing_file", "unsupported_format"),
        )


@pytest.mark.parametrize("data", [PLAYLIST, HLS, CONCAT, PLS, b"\xef\xbb\xbf\n" + CONCAT])
@pytest.mark.parametrize("name", ["a.wav", "a.m3u8"])
def test_a_playlist_opens_nothing(
    gateway: Gateway, standin: StandIn, path: str, data: bytes, name: str
) -> None:
    error = post(gateway, path, data, name).json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_format", "file")
    assert "playlist" in error["message"]
    assert standin.received == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "SVG"),
        (b"<!doctype html><script>alert(1)</script>", "HTML"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(500), "not in an audio format"),
        (b"PK\x03\x04" + os.urandom(500), "not in an audio format"),
    ],
)
def test_a_document_named_wav_is_refused(
    gateway: Gateway, standin: StandIn, path: str, data: bytes, said: str
) -> None:
    response = post(gateway, path, data)
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]
    assert "<s" not in response.text, "what was sent was sent back"
    assert standin.received == []


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (encoded("flac", "flac", 600.0, silence=True), (413, "audio_too_long")),
        (b"", (400, "empty_file")),
        (canonical_wav(1, 16_000, 32), (400, "too_many_channels")),
        (canonical_wav(1 / 16_000), (200, "")),
        (claiming(canonical_wav(2), 0xFFFFFFFF), (200, "")),
    ],
    ids=["bomb", "empty", "32-channels", "one-sample", "claims-4-GB"],
)
def test_a_bomb_costs_no_more_than_its_refusal(
    gateway: Gateway, path: str, data: bytes, answer: tuple[int, str]
) -> None:
    response = post(gateway, path, data)
    code = "" if response.ok else response.json()["error"]["code"]
    assert (response.status_code, code) == answer


def test_a_compressed_request_is_refused(gateway: Gateway, path: str) -> None:
    headers = {"Content-Encoding": "gzip"}
    files = {PATHS[path]: ("a.flac", encoded("flac", "flac", 600.0, silence=True))}
    response = requests.post(gateway.url + path, files=files, headers=headers, timeout=20)
    assert response.status_code == 415


def test_over_the_limit_is_413_with_a_length_and_without(gateway: Gateway, path: str) -> None:
    body = raw(path, bytes(5 * 1024 * 1024), b"a.wav")
    assert send(gateway, path, body).status_code == 413
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    pieces = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
    response = requests.post(gateway.url + path, data=pieces, headers=headers, timeout=20)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


def head(path: str, length: int) -> bytes:
    """Of a request that says to be so long."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_length_that_is_too_small_cuts_the_form(gateway: Gateway, path: str) -> None:
    body = raw(path, canonical_wav(1), b"a.wav")
    with gateway.connect() as client:
        client.sendall(head(path, len(body) - 100) + body)
        answer = client.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_length_that_is_too_large_waits_for_the_rest_and_leaves_nothing(
    gateway: Gateway, standin: StandIn, path: str
) -> None:
    body = raw(path, canonical_wav(30), b"a.wav")
    with gateway.connect() as client:
        client.sendall(head(path, len(body) + 100) + body)
        assert eventually(gateway.files)
    assert eventually(lambda: not gateway.files())
    assert standin.received == []


@pytest.mark.parametrize("length", [70, 300, 5000])
def test_a_long_boundary_is_one_or_none(gateway: Gateway, path: str, length: int) -> None:
    boundary = "b" * length
    body = raw(path, canonical_wav(1), b"a.wav", boundary)
    response = send(gateway, path, body, boundary)
    assert response.status_code in (200, 400)
    assert response.ok or response.json()["error"]["code"] == "broken_body"


def test_no_boundary_is_a_broken_form(gateway: Gateway, path: str) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    body = raw(path, canonical_wav(1), b"a.wav")
    response = requests.post(gateway.url + path, data=body, headers=headers, timeout=20)
    assert (response.status_code, response.json()["error"]["type"]) == (
        *(400, "invalid_request_error"),
    )


def test_too_many_parts_and_too_much_text_are_refused(gateway: Gateway, path: str) -> None:
    parts = [("x", (f"{number}", b"x")) for number in range(1001)]
    response = requests.post(gateway.url + path, files=parts, timeout=20)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
    files = {PATHS[path]: ("a.wav", canonical_wav(1))}
    text = {"prompt": "x" * 1_000_000}
    response = requests.post(gateway.url + path, files=files, data=text, timeout=20)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")

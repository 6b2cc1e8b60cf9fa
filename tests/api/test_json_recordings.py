"""A recording inside a JSON object: base64 that goes to disk in pieces, and what is none."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.api.conftest import Gateway, eventually
from tests.api.recordings import PLAYLIST, canonical_wav, encoded
from tests.api.test_known_speakers import NAMES, REFERENCES, VOICE, data_url
from tests.standins.upstream_whisperx import StandIn

PATHS = ("/v1/audio/transcriptions", "/v1/audio/translations")
WAV = canonical_wav(5)
TEXT = base64.b64encode(WAV).decode()
HEADERS = {"Content-Type": "application/json"}


def post(gateway: Gateway, body: bytes | str, path: str = PATHS[0]) -> requests.Response:
    return requests.post(gateway.url + path, data=body, headers=HEADERS, timeout=20)


def holding(data: str, more: str = "") -> str:
    return f'{{"model": "whisper-1"{more}, "input_audio": {{"format": "wav", "data": "{data}"}}}}'


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        TEXT.replace("/", "\\/"),
        "\\n".join(TEXT[start : start + 76] for start in range(0, len(TEXT), 76)),
        "\\r\\n".join(TEXT[start : start + 64] for start in range(0, len(TEXT), 64)),
        "".join(f"\\u{ord(letter):04x}" for letter in TEXT),
        "\\u000D\\u000A".join(TEXT[start : start + 76] for start in range(0, len(TEXT), 76)),
    ],
    ids=["plain", "slashes", "lines", "CRLF", "numbers", "numbered CRLF"],
)
def test_the_recording_is_what_base64_says(
    gateway: Gateway, standin: StandIn, path: str, data: str
) -> None:
    assert post(gateway, holding(data), path).status_code == 200
    _fields, wav = standin.received[0].form()
    assert wav == WAV


@pytest.mark.parametrize("nothing", ["[]", "[ \t\r\n ]", "null"])
@pytest.mark.parametrize("name", ["known_speaker_names", "known_speaker_references"])
def test_an_empty_list_of_known_speakers_is_none(gateway: Gateway, name: str, nothing: str) -> None:
    response = post(gateway, holding(TEXT, f', "{name}": {nothing}'))
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("length", range(6))
def test_every_length_comes_whole(gateway: Gateway, standin: StandIn, length: int) -> None:
    sound = encoded("libmp3lame", "mp3") + bytes(length)
    response = post(gateway, holding(base64.b64encode(sound).decode()))
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        ('"input_audio"', "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ('{"input_audio": ' + '{"a":' * 100_000, "invalid_json", None),
        (b'{"input_audio": {"data": "\xff\xfe"}}', "invalid_base64", "input_audio.data"),
        ('{"input_audio": null}', "invalid_type", "input_audio"),
        ('{"input_audio": []}', "invalid_type", "input_audio"),
        ('{"input_audio": {"data": null}}', "missing_file", "input_audio.data"),
        ('{"input_audio": {"data": ["UklGRg=="]}}', "missing_file", "input_audio.data"),
        (holding(""), "empty_file", "file"),
        (holding(base64.b64encode(PLAYLIST).decode()), "unsupported_format", "file"),
        (holding("UklGR"), "invalid_base64", "input_audio.data"),
        (holding("UklG?g=="), "invalid_base64", "input_audio.data"),
        (holding("UklGRg==UklGRg=="), "invalid_base64", "input_audio.data"),
        (holding("UklG\\u0052g=="), "unsupported_format", "file"),
        (holding("UklG\\u00e9g=="), "invalid_base64", "input_audio.data"),
        (holding("UklG\\u005cnRg=="), "invalid_base64", "input_audio.data"),
        (holding("UklG\\\\nrRg=="), "invalid_base64", "input_audio.data"),
        (holding("UklG\\tRg=="), "invalid_base64", "input_audio.data"),
        (holding("data:audio/wav;base64," + TEXT), "invalid_base64", "input_audio.data"),
        (holding("A" * 262_142 + "==" + "A" * 262_144), "invalid_base64", "input_audio.data"),
        (holding(TEXT, ', "language": "klingon"'), "invalid_value", "language"),
        (holding(TEXT, ', "temperature": {"a": 1}'), "invalid_type", "temperature"),
        (holding(TEXT, ', "chunking_strategy": 5'), "invalid_value", "chunking_strategy"),
        (holding(TEXT, ', "include": ["tokens"]'), "invalid_value", "include[]"),
        (holding(TEXT, ', "prompt": 1e999'), "invalid_value", "prompt"),
        (holding(TEXT, f', "num_speakers": {"5" * 5000}'), "invalid_value", "num_speakers"),
        (
            holding(TEXT, f', "chunking_strategy": {{"threshold": {"5" * 5000}}}'),
            "invalid_value",
            "chunking_strategy",
        ),
        (holding(TEXT).encode()[:-1] + b', "prompt": "\xff"}', "invalid_value", "prompt"),
    ],
)
def test_what_is_no_recording_in_json_is_refused(
    gateway: Gateway, standin: StandIn, body: bytes | str, code: str, param: str | None
) -> None:
    response = post(gateway, body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)
    assert len(error["message"]) < 400
    assert standin.received == []
    assert "Traceback" not in gateway.log.read_text()


def known(names: object, references: object) -> str:
    """A request for speakers, some of whom are known."""
    more = {"response_format": "diarized_json", NAMES: names, REFERENCES: references}
    return holding(TEXT, f", {json.dumps(more)[1:-1]}")


@pytest.mark.parametrize("slash", ["/", "\\/"])
def test_known_speakers_are_those_of_a_form(gateway: Gateway, standin: StandIn, slash: str) -> None:
    ten_seconds_of_a_cd = canonical_wav(10, 44_100, 2)
    voices = [data_url(VOICE), data_url(ten_seconds_of_a_cd)]
    response = post(gateway, known(["Ann", "Bob, jr."], voices).replace("/", slash))
    assert response.status_code == 200, response.text
    received = standin.received[0]
    assert received.form()[0].getlist(f"{NAMES}[]") == ["Ann", "Bob, jr."]
    first, second = received.files(f"{REFERENCES}[]")
    assert first == VOICE
    assert (len(second) - 44) / 32_000 == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize("nothing", [None, []])
def test_no_known_speakers_are_none(gateway: Gateway, standin: StandIn, nothing: object) -> None:
    assert post(gateway, known(nothing, nothing)).status_code == 200
    assert standin.received[0].files(f"{REFERENCES}[]") == []


@pytest.mark.parametrize(
    ("sent", "param", "words"),
    [
        ((["Ann"], []), REFERENCES, "1 known_speaker_names and 0 "),
        ((["Ann"], [5]), REFERENCES, "array of texts"),
        ((["Ann"], [[data_url(VOICE)]]), REFERENCES, "array of texts"),
        ((["Ann"], {"Ann": data_url(VOICE)}), REFERENCES, "array of texts"),
        ((["Ann"], 5), REFERENCES, "array of texts"),
        ((["Ann"], ["https://example.org/ann.wav"]), REFERENCES, "data URL"),
        ((["Ann"], ["data:audio/wav;base64,UklGRg==UklG"]), REFERENCES, "base64"),
        ((["Ann"], ["data:audio/wav;base64,Uk\\lGRg=="]), REFERENCES, "data URLs"),
        ((["Ann"], [data_url(canonical_wav(1))]), REFERENCES, "for Ann"),
        ((list("abcde"), [data_url(VOICE)] * 5), REFERENCES, "at most 4"),
        ((["Ann"], [1] * 200_000), REFERENCES, "at most 4"),
        (([], [data_url(VOICE)]), NAMES, "0 known_speaker_names and 1 "),
    ],
)
def test_what_is_wrong_with_known_speakers_is_said_of_its_field(
    gateway: Gateway, standin: StandIn, sent: tuple[object, object], param: str, words: str
) -> None:
    response = post(gateway, known(*sent))
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert words in error["message"]
    assert standin.received == []


def test_a_reference_in_json_is_bounded(strict_gateway: Gateway, standin: StandIn) -> None:
    response = post(strict_gateway, known(["Ann"], ["data:;base64," + "A" * 9_000_000]))
    assert (response.status_code, response.json()["error"]["param"]) == (413, REFERENCES)
    assert eventually(lambda: not strict_gateway.files())
    assert not standin.received


def test_text_beside_the_recording_is_bounded(gateway: Gateway) -> None:
    much = json.dumps("x" * 300_000)
    response = post(gateway, holding(TEXT, f', "prompt": {much}'))
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
    assert post(gateway, holding(TEXT, f', "note": {much}')).status_code == 200


def test_the_limit_of_uploads_is_that_of_the_body(gateway: Gateway) -> None:
    over = holding("A" * 4 * 1024 * 1024)
    assert post(gateway, over).status_code == 413

    def pieces() -> Iterator[bytes]:
        yield from (over[start : start + 65_536].encode() for start in range(0, len(over), 65_536))

    response = requests.post(gateway.url + PATHS[0], data=pieces(), headers=HEADERS, timeout=20)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


def test_a_client_that_hangs_up_in_the_middle_leaves_nothing(
    gateway: Gateway, standin: StandIn
) -> None:
    head = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    with gateway.connect() as client:
        client.sendall(head.encode() + holding("A" * 300_000)[:200_000].encode())
        assert eventually(gateway.files), "the body was not spooled to disk"
        assert {path.stat().st_mode & 0o777 for path in gateway.files()} == {0o600}
    assert eventually(lambda: not gateway.files())
    assert standin.received == []


def test_only_the_recording_stays_on_disk_while_the_service_works(
    gateway: Gateway, standin: StandIn
) -> None:
    standin.behave("hang")
    body = holding(TEXT)
    head = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with gateway.connect() as client:
        client.sendall((head + body).encode())
        assert standin.started.wait(10)
        assert [path.name.rpartition("-")[2] for path in gateway.files()] == ["audio.wav"]
    assert standin.hung_up.wait(10)


def test_a_large_object_is_not_held_in_memory(tmp_path: Path) -> None:
    """In a process of its own, whose own memory is read: mapped files are not counted."""
    program = f"""
import resource
from pathlib import Path
from proxy_app.api import json_members, json_upload
from proxy_app.api.uploads import SpoolFile

turns = []
json_members.let_others = lambda: turns.append(own())

def own():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

body, target = Path({str(tmp_path / "body")!r}), Path({str(tmp_path / "sound")!r})
with body.open("wb") as file:
    file.write(b'{{"input_audio": {{"data": "')
    for _ in range(160):
        file.write(b"AAAA" * 262_144)
    file.write(b'"}}, "x": [')
    file.write(b"1," * 20_000_000 + b"1]}}")
before = own()
sent = json_upload._mapped(body)
audio = json_upload._members(sent, json_upload._SENT)["input_audio"]
span = json_upload._members(sent, json_upload._AUDIO, None, audio)["data"]
data = span.of(memoryview(sent))
most = max(turns)
with SpoolFile(target) as sound:
    for piece in json_upload._decoded(data[1:-1]):
        sound.write(piece)
        most = max(most, own())
print(most - before, target.stat().st_size, len(turns))
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    grown_kb, size, turns = map(int, done.stdout.split())
    assert size == 160 * 262_144 * 3
    assert turns > 160 * 16, "others wait meanwhile"
    assert grown_kb < 8_000

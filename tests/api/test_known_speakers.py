"""known_speaker_names and known_speaker_references, as OpenAI's clients send them and not so."""

import base64
import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import requests
from requests_toolbelt import MultipartEncoder

from tests.api.conftest import Gateway, eventually
from tests.api.openai_document import problems
from tests.api.recordings import canonical_wav, encoded
from tests.api.routed import AUDIO, PAIR, PATH, Routed
from tests.standins.upstream_whisperx import CONVERSATION, StandIn, conversation, stream

URL = "/v1/audio/transcriptions"
NAMES, REFERENCES = "known_speaker_names", "known_speaker_references"
VOICE = canonical_wav(2.5)
OTHER = canonical_wav(3.5)


def data_url(sound: bytes, kind: str = "audio/wav") -> str:
    return f"data:{kind};base64,{base64.b64encode(sound).decode()}"


def post(
    gateway: Gateway,
    names: Sequence[str],
    references: Sequence[Any],
    *,
    path: str = URL,
    brackets: str = "[]",
    file: bytes | None = None,
    **fields: str,
) -> requests.Response:
    """A request whose references are texts, or files where they are tuples."""
    wanted = {"response_format": "diarized_json"} if path == URL else {}
    parts = [
        *(wanted | fields).items(),
        *((NAMES + brackets, name) for name in names),
        *((REFERENCES + brackets, reference) for reference in references),
        ("file", ("blob", file or canonical_wav(5), "application/octet-stream")),
    ]
    body = MultipartEncoder(parts)
    headers = {"Content-Type": body.content_type}
    return requests.post(gateway.url + path, data=body, headers=headers, timeout=20)


def said_by(*speakers: str) -> dict[str, Any]:
    """The engine's answer with these speakers."""
    answer = conversation(words=False)
    for segment, speaker in zip(answer["segments"], speakers, strict=True):
        segment["speaker"] = speaker
    return answer


def speakers_of(response: requests.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [segment["speaker"] for segment in response.json()["segments"]]


@pytest.mark.parametrize("brackets", ["[]", ""])
def test_the_engine_gets_the_names_and_their_voices_in_order(
    gateway: Gateway, standin: StandIn, brackets: str
) -> None:
    references = [data_url(VOICE), data_url(OTHER)]
    response = post(gateway, ["Ann", " Bob  Öz, jr. "], references, brackets=brackets)
    assert response.status_code == 200, response.text
    received = standin.received[0]
    assert received.form()[0].getlist(f"{NAMES}[]") == ["Ann", "Bob Öz, jr."]
    assert received.files(f"{REFERENCES}[]") == [VOICE, OTHER]


def test_any_kind_of_audio_is_a_reference_as_a_text_or_as_a_file(
    gateway: Gateway, standin: StandIn
) -> None:
    mp3, opus = encoded("libmp3lame", "mp3", 4.0), encoded("libopus", "webm", 3.0)
    references = [
        data_url(mp3, "audio/mpeg"),
        ("ann.webm", opus, "audio/webm"),
        f"DATA:;base64,\r\n{base64.encodebytes(VOICE).decode()}",
        data_url(VOICE).rstrip("="),
    ]
    response = post(gateway, ["a", "b", "c", "d"], references)
    assert response.status_code == 200, response.text
    wavs = standin.received[0].files(f"{REFERENCES}[]")
    seconds = [(len(wav) - 44) / 32_000 for wav in wavs]
    assert seconds == pytest.approx([4.0, 3.0, 2.5, 2.5], abs=0.1)
    assert {wav[20:36] for wav in wavs} == {VOICE[20:36]}
    assert wavs[2:] == [VOICE, VOICE]


def test_a_reference_may_be_longer_than_all_texts_that_memory_holds(
    gateway: Gateway, standin: StandIn
) -> None:
    ten_seconds_of_a_cd = canonical_wav(10, 44_100, 2)
    reference = data_url(ten_seconds_of_a_cd)
    assert len(reference) > 8 * 256 * 1024
    assert post(gateway, ["Ann"], [reference]).status_code == 200
    (wav,) = standin.received[0].files(f"{REFERENCES}[]")
    assert (len(wav) - 44) / 32_000 == pytest.approx(10, abs=0.01)


def test_a_known_name_stands_as_it_is_and_the_others_are_letters(
    gateway: Gateway, standin: StandIn, schema: dict[str, Any]
) -> None:
    standin.behave("ok", said_by("Speaker_0", "Ann"))
    response = post(gateway, ["Ann"], [data_url(VOICE)])
    assert speakers_of(response) == ["A", "Ann"]
    assert response.json()["text"] == "A: Hello.\nAnn: Good morning, all."
    assert not list(problems(schema, "CreateTranscriptionResponseDiarizedJson", response.json()))


@pytest.mark.parametrize(
    ("names", "found", "shown"),
    [
        (["A"], ("Speaker_0", "A"), ["B", "A"]),
        (["a"], ("Speaker_0", "a"), ["B", "a"]),
        (["b", "C"], ("Speaker_0", "Speaker_1"), ["A", "D"]),
        (["A", "Speaker 1"], ("A", "Speaker 1"), ["A", "Speaker 1"]),
    ],
)
def test_fresh_letters_skip_all_known_names_found_or_not(
    gateway: Gateway, standin: StandIn, names: list[str], found: tuple[str, str], shown: list[str]
) -> None:
    standin.behave("ok", said_by(*found))
    assert speakers_of(post(gateway, names, [data_url(VOICE)] * len(names))) == shown


def test_a_stream_has_the_same_names(gateway: Gateway, standin: StandIn) -> None:
    lines = stream(speakers=True)
    for line in lines:
        for segment in line.get("segments", []):
            segment["speaker"] = {"Speaker_0": "A", None: None}.get(segment["speaker"], "Speaker_0")
    standin.behave("ok", lines)
    response = post(gateway, ["A", "Bob"], [data_url(VOICE)] * 2, stream="true")
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line[6:7] == "{"]
    told = [one["speaker"] for one in events if one["type"] == "transcript.text.segment"]
    assert told == ["A", "B"]


@pytest.mark.parametrize(("wanted", "found"), [("srt", "\nAnn: Good"), ("vtt", "<v Ann>Good")])
def test_subtitles_name_who_is_known(
    gateway: Gateway, standin: StandIn, wanted: str, found: str
) -> None:
    standin.behave("ok", said_by("Speaker_0", "Ann"))
    reference = [data_url(VOICE)]
    response = post(gateway, ["Ann"], reference, response_format=wanted, model="my-diarizer")
    assert found in response.text
    assert "Speaker_0" in response.text


@pytest.mark.parametrize("fields", [{"response_format": "json"}, {"response_format": "srt"}])
@pytest.mark.parametrize("sent", [{NAMES: "Ann"}, {f"{NAMES}[]": "Ann"}, {REFERENCES: "x"}])
def test_where_no_speakers_are_told_they_are_refused(
    gateway: Gateway, fields: dict[str, str], sent: dict[str, str]
) -> None:
    response = gateway.transcribe(**fields, **sent)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "unsupported_value")
    assert error["param"] == next(iter(sent)).removesuffix("[]")
    assert "diarized_json" in error["message"]


LONG = canonical_wav(11)
SHORT = canonical_wav(1.5)


@pytest.mark.parametrize(
    ("names", "references", "param", "words"),
    [
        (["Ann"], [], REFERENCES, "1 known_speaker_names and 0 "),
        ([], [data_url(VOICE)], NAMES, "0 known_speaker_names and 1 "),
        (["Ann", "Bob"], [data_url(VOICE)], REFERENCES, "a reference for each name"),
        (["a", "b", "c", "d", "e"], [data_url(VOICE)] * 4, NAMES, "at most 4"),
        (["a", "b", "c", "d", "e"], [data_url(VOICE)] * 5, REFERENCES, "at most 4"),
        ([" "], [data_url(VOICE)], NAMES, "empty"),
        (["x" * 65], [data_url(VOICE)], NAMES, "65 characters"),
        (["Ann\x07"], [data_url(VOICE)], NAMES, "printed"),
        (["Ann", "ANN"], [data_url(VOICE)] * 2, NAMES, "the same"),
        (["Ann"], ["https://example.org/ann.wav"], REFERENCES, "data URL"),
        (["Ann"], [base64.b64encode(VOICE).decode()], REFERENCES, "data URL"),
        (["Ann"], ["data:audio/wav,RIFF"], REFERENCES, "data URL"),
        (["Ann"], ["data:audio/wav;base64,"], REFERENCES, "empty"),
        (["Ann"], ["data:audio/wav;base64,a§b!"], REFERENCES, "base64"),
        (["Ann"], [data_url(VOICE) + "=="], REFERENCES, "base64"),
        (["Ann"], [data_url(VOICE)[:-1] + "=AAAA"], REFERENCES, "base64"),
        (["Ann"], [data_url(b"%PDF-1.7 " * 50)], REFERENCES, "is text"),
        (["Ann"], [("ann.wav", b"RIFF" + b"x" * 500, "audio/wav")], REFERENCES, "for Ann"),
        (["Ann", "Bob"], [data_url(VOICE), data_url(LONG)], REFERENCES, "longer than 10 s"),
        (
            ["Ann", "Bob"],
            [data_url(VOICE), data_url(SHORT)],
            REFERENCES,
            "[1], for Bob: it has 1.5",
        ),
    ],
)
def test_what_is_wrong_is_said_of_its_field(
    gateway: Gateway, names: list[str], references: list[Any], param: str, words: str
) -> None:
    response = post(gateway, names, references)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param
    assert words in error["message"]


def test_what_is_wrong_is_said_before_a_stream_begins(gateway: Gateway, standin: StandIn) -> None:
    response = post(gateway, ["Ann"], [data_url(SHORT)], stream="true")
    assert (response.status_code, response.json()["error"]["param"]) == (400, REFERENCES)
    assert not standin.received


def test_a_reference_is_bounded_as_it_arrives(strict_gateway: Gateway, standin: StandIn) -> None:
    response = post(strict_gateway, ["Ann"], ["data:;base64," + "A" * 9_000_000])
    assert (response.status_code, response.json()["error"]["param"]) == (413, REFERENCES)
    assert eventually(lambda: not strict_gateway.files())
    assert not standin.received


def test_all_texts_together_are_bounded(gateway: Gateway) -> None:
    texts = {f"x{number}": "x" * 100_000 for number in range(4)}
    assert gateway.transcribe(**texts).status_code == 413


@contextlib.contextmanager
def half_sent(gateway: Gateway) -> Iterator[socket.socket]:
    """A request that stops in the middle of a reference."""
    body = MultipartEncoder([(NAMES, "Ann"), (REFERENCES, data_url(VOICE)), ("file", ("a", VOICE))])
    head = f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {body.content_type}\r\n"
    data = f"{head}Content-Length: {body.len}\r\n\r\n".encode() + body.read(70_000)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(data)
        yield client


def test_a_client_that_hangs_up_in_a_reference_leaves_nothing(gateway: Gateway) -> None:
    with half_sent(gateway):
        assert eventually(gateway.files)
    assert eventually(lambda: not gateway.files())


def test_a_client_that_hangs_up_while_the_engine_works_leaves_nothing(
    gateway: Gateway, standin: StandIn
) -> None:
    standin.behave("hang")
    body = MultipartEncoder(
        [
            ("response_format", "diarized_json"),
            (f"{NAMES}[]", "Ann"),
            (f"{REFERENCES}[]", data_url(VOICE)),
            ("file", ("a", canonical_wav(5))),
        ]
    )
    head = f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {body.content_type}\r\n"
    data = f"{head}Content-Length: {body.len}\r\n\r\n".encode() + body.read()
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(data)
        assert eventually(lambda: standin.received)
        assert any("reference" in path.name for path in gateway.files())
    assert standin.hung_up.wait(10)
    assert eventually(lambda: not gateway.files())


def test_the_speakers_voices_come_with_the_model_that_made_them(
    gateway: Gateway, standin: StandIn
) -> None:
    voices = {
        "speaker_embeddings": {"Ann": [0.6, 0.8], "Speaker_0": ["x"]},
        "embedding_model": "m@1",
    }
    standin.behave("ok", said_by("Ann", "Speaker_0") | voices)
    response = post(gateway, ["Ann"], [data_url(VOICE)], path=PATH, speaker_embeddings="true")
    assert standin.received[0].form()[0]["speaker_embeddings"] == "true"
    answer = response.json()
    assert answer["speaker_embeddings"] == {"Ann": [0.6, 0.8]}
    assert answer["embedding_model"] == "m@1"


def test_voices_that_nobody_asked_for_are_not_asked_of_the_engine(
    gateway: Gateway, standin: StandIn
) -> None:
    assert "speaker_embeddings" not in gateway.transcribe(None, PATH).json()
    assert "speaker_embeddings" not in standin.received[0].form()[0]


def test_without_a_whisperx_server_nobody_is_guessed(routed: Routed) -> None:
    routed.unregister("whisperx")
    names, references = ["Speaker_0", "Ann"], [data_url(VOICE)] * 2
    response = post(
        routed.gateway, names, references, path=PATH, file=AUDIO, speaker_embeddings="true"
    )
    assert response.headers["x-served-by"] == PAIR
    answer = response.json()
    assert {segment["speaker"] for segment in answer["segments"]} == {"Speaker_1", "Speaker_2"}
    about_names, about_voices = answer["warnings"]
    assert "`known_speaker_names` had no effect" in about_names
    assert "no `speaker_embeddings`" in about_voices
    assert "speaker_embeddings" not in answer
    letters = set(speakers_of(post(routed.gateway, ["A", "Ann"], references, file=AUDIO)))
    assert letters == {"B", "C"}


def test_a_server_that_fails_is_followed_by_the_pair_without_names(routed: Routed) -> None:
    routed.whisperx.behave("500")
    response = post(routed.gateway, ["Ann"], [data_url(VOICE)], file=AUDIO)
    assert response.headers["x-served-by"] == PAIR
    assert set(speakers_of(response)) == {"A", "B"}
    assert CONVERSATION["segments"]

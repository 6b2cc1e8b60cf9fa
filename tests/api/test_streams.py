"""stream=true: what is known is sent as soon as it is known, in OpenAI's events or as NDJSON."""

import contextlib
import json
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy_app.access.keys import Keys
from proxy_app.api import streams
from proxy_app.store import Store
from proxy_app.transcribing.attempts import DECODER
from tests.api.conftest import Gateway, eventually, running, taken
from tests.api.openai_document import problems
from tests.api.recordings import canonical_wav, encoded
from tests.standins import upstream_whisperx as engine
from tests.standins.upstream_whisperx import StandIn

OPENAI = "/v1/audio/transcriptions"
OURS = "/api/audio/transcribe-with-speakers"
PATHS = (OPENAI, OURS)
TEXT = "Hello. Good morning, all."
MP3 = encoded("libmp3lame", "mp3")
DELTA, SEGMENT, DONE = (f"transcript.text.{kind}" for kind in ("delta", "segment", "done"))


def objects(lines: Iterable[bytes]) -> Iterator[Any]:
    """The events of server-sent events, which must be data lines and comments, as they come."""
    for line in lines:
        if line and not line.startswith(b":"):
            assert line.startswith(b"data: "), line
            data = line.removeprefix(b"data: ")
            yield data.decode() if data == b"[DONE]" else json.loads(data)


def events(gateway: Gateway, **fields: str) -> list[Any]:
    """All events of one request; the last one is the text [DONE], or an error."""
    with gateway.follow(OPENAI, **fields) as response:
        assert response.status_code == 200, response.text
        return list(objects(response.iter_lines()))


def lines(gateway: Gateway, **fields: str) -> list[Any]:
    """All lines of our own stream."""
    with gateway.follow(OURS, **fields) as response:
        assert response.status_code == 200, response.text
        return [json.loads(line) for line in response.iter_lines()]


def last(gateway: Gateway, path: str) -> Any:  # noqa: ANN401 - JSON
    """How a stream ends: the object, or [DONE]."""
    return (events if path == OPENAI else lines)(gateway)[-1]


def heard(*texts: str) -> list[dict[str, Any]]:
    """The lines of a stream in which these segments are heard."""
    segments = [{"start": 0.0, "end": 1.0, "text": text} for text in texts]
    answer = engine.transcription() | {"segments": segments}
    batches = ({"type": "segments", "segments": [segment]} for segment in segments)
    return [engine.PROGRESS, *batches, {"type": "end", "answer": answer}]


def upload(path: str = OPENAI, **fields: str) -> bytes:
    """A request with stream=true as bytes, for clients that do what HTTP libraries do not."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in ({"stream": "true"} | fields).items()
    ]
    file = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = "".join([*parts, file]).encode() + canonical_wav(1) + b"\r\n--b--\r\n"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    return head.encode() + body


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "my-diarizer"])
@pytest.mark.parametrize("format_", ["json", "text"])
def test_text_comes_in_deltas_which_together_are_the_text(
    gateway: Gateway, standin: StandIn, schema: dict[str, Any], format_: str, model: str
) -> None:
    *sent, end = events(gateway, model=model, response_format=format_)
    assert end == "[DONE]"
    assert [event["type"] for event in sent] == [DELTA, DELTA, DONE]
    for event in sent:
        assert not list(problems(schema, "CreateTranscriptionResponseStreamEvent", event))
    assert "".join(event["delta"] for event in sent[:-1]) == sent[-1]["text"] == TEXT
    assert standin.received[0].path == OPENAI, "speakers were asked for, which nobody is told"


def test_the_headers_keep_proxies_from_holding_it_back(gateway: Gateway) -> None:
    with gateway.follow() as response:
        headers = response.headers
        assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Accel-Buffering"] == "no"
        assert headers["x-served-by"] == "whisperx"
        assert headers["x-request-id"]
        assert "Content-Length" not in headers


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (("早上好。", "大家好。"), "早上好。大家好。"),
        (("One,", "two.", "Three"), "One, two. Three"),
        (("  It", "'s", " late \n"), "It's late"),
        (("", " "), ""),
        ((), ""),
    ],
)
def test_deltas_are_joined_as_the_script_wants_it(
    gateway: Gateway, standin: StandIn, texts: tuple[str, ...], whole: str
) -> None:
    standin.behave("ok", heard(*texts))
    *deltas, done, _end = events(gateway)
    assert "".join(event["delta"] for event in deltas) == done["text"] == whole


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": "diarized_json", "model": "gpt-4o-transcribe-diarize"},
        {"response_format": "diarized_json"},
    ],
)
def test_segments_with_speakers_come_beside_the_deltas(
    gateway: Gateway, schema: dict[str, Any], fields: dict[str, str]
) -> None:
    *sent, _end = events(gateway, **fields)
    assert [event["type"] for event in sent] == [DELTA, DELTA, SEGMENT, SEGMENT, DONE]
    for event in sent:
        name = "".join(part.title() for part in event["type"].split("."))
        assert not list(problems(schema, f"{name}Event", event))
    assert "".join(event["delta"] for event in sent[:2]) == sent[-1]["text"] == TEXT
    plain = gateway.transcribe(response_format="diarized_json").json()
    assert sent[2:4] == plain["segments"]


def test_text_is_sent_before_the_engine_has_finished(gateway: Gateway, standin: StandIn) -> None:
    standin.behave("stepwise")
    standin.steps.release(2)  # waiting, and the first text
    with gateway.follow(response_format="diarized_json") as response:
        coming = objects(response.iter_lines())
        assert next(coming)["delta"] == "Hello."
        assert gateway.files() == [], "the recording is kept although the engine has it"
        standin.steps.release(3)  # progress, more text, the first speaker
        assert next(coming)["delta"] == " Good morning, all."
        assert next(coming)["speaker"] == "A"
        standin.steps.release(2)
        assert [event if event == "[DONE]" else event["type"] for event in coming] == [
            *(SEGMENT, DONE, "[DONE]")
        ]


@pytest.mark.parametrize("format_", ["verbose_json", "srt", "vtt", "rttm"])
def test_formats_that_have_no_events_are_refused_with_those_that_have(
    gateway: Gateway, standin: StandIn, format_: str
) -> None:
    with gateway.follow(OPENAI, response_format=format_) as response:
        error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "stream")
    assert all(name in error["message"] for name in (format_, "json", "text", "diarized_json"))
    assert standin.received == []


@pytest.mark.parametrize("format_", ["json", "srt"])
def test_for_whisper_1_the_field_has_no_effect_as_with_openai(
    gateway: Gateway, format_: str
) -> None:
    fields = {"model": "whisper-1", "response_format": format_}
    with gateway.follow(OPENAI, **fields) as response:
        assert response.text == gateway.transcribe(**fields).text


def test_stream_false_is_a_plain_answer(gateway: Gateway) -> None:
    assert gateway.transcribe(stream="false").json()["text"] == TEXT
    assert gateway.transcribe(None, OURS, stream="false").json()["duration"] == 5.0


def test_our_own_stream_has_the_same_events_a_line_each(gateway: Gateway) -> None:
    sent = lines(gateway)
    assert [line["type"] for line in sent] == [
        *("progress", "segments", "progress", "segments", "speakers", "speakers", "end")
    ]
    assert sent[2] == {"type": "progress", "stage": "transcription", "done_s": 2.5, "total_s": 5.0}
    assert sent[1]["segments"] == [
        {"start_ms": 690, "end_ms": 1120, "speaker": None, "text": "Hello."}
    ]
    answer = gateway.transcribe(None, OURS).json()
    assert answer["duration"] == 5.0, "the stand-in's claim of 999 s was believed"
    assert sent[-1] == {"type": "end", "answer": answer}
    assert sent[4]["segments"] + sent[5]["segments"] == answer["segments"]
    assert (sent[4]["until_s"], sent[5]["until_s"]) == (1.4, 5.0)


def test_our_own_stream_is_ndjson_that_nobody_holds_back(gateway: Gateway) -> None:
    with gateway.follow(OURS) as response:
        assert response.headers["Content-Type"] == "application/x-ndjson"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["x-served-by"] == "whisperx"


def test_times_and_texts_of_the_engine_are_put_right(gateway: Gateway, standin: StandIn) -> None:
    odd = {"start_ms": 900, "end_ms": -5, "speaker": " Speaker_0\n", "text": " a \t b "}
    empty = {"start_ms": 1, "end_ms": 2, "text": " "}
    said = {"segments": [odd, empty], "language": "English"}
    script = [{"type": "speakers", "until_s": 1, **said}, {"type": "end", "answer": said}]
    standin.behave("ok", [engine.PROGRESS, {"type": "novelty"}, *script])
    _progress, speakers, end = lines(gateway)
    assert speakers["segments"] == [
        {"start_ms": 900, "end_ms": 900, "speaker": "Speaker_0", "text": "a b"}
    ]
    assert (end["answer"]["segments"], end["answer"]["language"]) == (speakers["segments"], "en")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [400, 413, 429, 500, 503])
def test_what_is_refused_before_the_work_begins_has_its_plain_status(
    gateway: Gateway, standin: StandIn, path: str, status: int
) -> None:
    standin.behave(str(status), {"error": {"message": "no", "code": "some_code", "param": "file"}})
    with gateway.follow(path) as response:
        error = response.json()["error"]
    assert response.status_code == (status if status < 500 else 503)
    assert error["code"] == ("some_code" if status < 500 else "upstream_unavailable")


@pytest.mark.parametrize("path", PATHS)
def test_bad_files_and_fields_have_their_plain_status(gateway: Gateway, path: str) -> None:
    for response in (
        gateway.transcribe(b"no recording", path, stream="true"),
        gateway.transcribe(None, path, stream="true", language="klingon"),
    ):
        assert response.status_code == 400
        assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_that_finds_no_place_gets_429(
    gateway: Gateway, standin: StandIn, path: str
) -> None:
    standin.behave("stepwise")
    standin.steps.release(2)
    with gateway.follow(path), gateway.follow(path, prompt="not the same") as second:
        assert (second.status_code, second.json()["error"]["code"]) == (429, "queue_full")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            {"status": 503, "error": {"message": "CUDA error: illegal"}, "retry_after_s": 10},
            (503, "service_unavailable_error", "upstream_unavailable", None, 60),
        ),
        (
            {"status": 413, "error": {"message": "no", "code": "too_long", "param": "file"}},
            (413, "invalid_request_error", "too_long", "file", None),
        ),
        (
            {"status": 429, "error": {"message": "no", "code": "busy"}, "retry_after_s": 9.5},
            (429, "rate_limit_error", "busy", None, 10),
        ),
        (
            {"status": "?", "error": 5, "retry_after_s": None},
            (503, "service_unavailable_error", "upstream_unavailable", None, 60),
        ),
    ],
)
def test_an_error_of_the_engine_ends_the_stream_instead_of_its_end(
    gateway: Gateway,
    standin: StandIn,
    line: dict[str, Any],
    expected: tuple[int, str, str, str | None, int | None],
) -> None:
    standin.behave("ok", [*heard("Hello.")[:-1], {"type": "error", **line}])
    status, type_, code, param, retry_after_s = expected
    *_before, delta, error = events(gateway)
    assert delta["delta"] == "Hello."
    assert (list(error), sorted(error["error"])) == (
        ["error"],
        ["code", "message", "param", "type"],
    )
    assert [error["error"][key] for key in ("type", "code", "param")] == [type_, code, param]
    assert "CUDA" not in error["error"]["message"]
    ours = last(gateway, OURS)
    assert ours == {
        "type": "error",
        "status": status,
        "error": error["error"],
        "retry_after_s": retry_after_s,
    }
    standin.behave("ok")
    assert gateway.transcribe().status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_that_breaks_off_ends_with_an_error(
    gateway: Gateway, standin: StandIn, path: str
) -> None:
    standin.behave("cut", heard("Hello.")[:-1])
    assert last(gateway, path)["error"]["code"] == "upstream_unavailable"


def test_a_line_without_end_is_an_error(gateway: Gateway, standin: StandIn) -> None:
    standin.behave("endless")
    assert last(gateway, OURS)["error"]["code"] == "upstream_unavailable"


@pytest.mark.parametrize(
    ("behaviour", "sent"),
    [
        ("cut", [engine.PROGRESS] * 3),
        ("ok", [engine.PROGRESS, {"type": "error", "status": 503, "error": {"message": "Gone."}}]),
        ("cut", heard("")[:-1]),
        ("endless", None),
    ],
)
def test_what_fails_before_any_text_has_the_status_at_which_openais_clients_try_again(
    gateway: Gateway, standin: StandIn, behaviour: str, sent: list[Any] | None
) -> None:
    standin.behave(behaviour, sent)
    with gateway.follow() as response:
        error = response.json()["error"]
    assert (response.status_code, response.headers["Retry-After"]) == (503, "60")
    assert error["code"] == "upstream_unavailable"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "line",
    [
        *(b"<html>\n", b"[1]\n", b"{}\n", b'{"type": 5}\n', b"[" * 9999 + b"\n", b'{"type"', b"\n"),
        {"type": "progress", "done_s": "much", "total_s": 1},
        {"type": "progress", "done_s": -1, "total_s": 1},
        {"type": "segments", "segments": "none"},
        {"type": "segments", "segments": [{"text": 5}]},
        {"type": "speakers", "until_s": None, "segments": []},
        {"type": "end", "answer": None},
        {"type": "end", "answer": {"segments": [5]}},
    ],
)
def test_a_line_that_makes_no_sense_is_an_error_and_not_an_end(
    gateway: Gateway, standin: StandIn, path: str, line: object
) -> None:
    standin.behave("ok", [*heard("Hello.")[:-1], line])
    assert last(gateway, path)["error"]["code"] == "upstream_unavailable"


def test_nonsense_at_the_very_beginning_has_a_plain_status(
    gateway: Gateway, standin: StandIn
) -> None:
    standin.behave("ok", [b"<html>\n"])
    with gateway.follow() as response:
        assert response.status_code == 503


@pytest.mark.parametrize(("path", "lines_before"), [(OPENAI, 0), (OURS, 1), (OPENAI, 2)])
def test_a_client_that_hangs_up_ends_the_engines_work(
    gateway: Gateway, standin: StandIn, path: str, lines_before: int
) -> None:
    standin.behave("stepwise")
    for _ in range(lines_before):
        standin.steps.release()
    with gateway.connect() as client:
        client.sendall(upload(path))
        assert standin.started.wait(10)
        if lines_before:
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    # The heartbeat, which would notice it too, is not due for a quarter of a minute.
    assert standin.hung_up.wait(10), "the engine went on for nobody"
    assert eventually(lambda: not gateway.files())
    standin.behave("ok")
    assert gateway.transcribe().status_code == 200, "the place was not freed"


def test_a_connection_can_be_used_again_after_a_stream(gateway: Gateway) -> None:
    with gateway.connect() as client:
        for _ in range(3):
            client.sendall(upload())
            answer = b""
            while not answer.endswith(b"0\r\n\r\n"):
                piece = client.recv(4096)
                assert piece, answer
                answer += piece
            assert b"[DONE]" in answer
            assert b"Connection: keep-alive" in answer


def test_silence_is_filled_with_comments(standin: StandIn, tmp_path: Path) -> None:
    standin.behave("stepwise")
    standin.steps.release(1)  # waiting in the engine's queue
    with (
        running(tmp_path, standin.port, app="tests.api.impatient:create_app()") as gateway,
        gateway.follow() as response,
    ):
        coming = (line for line in response.iter_lines() if line)
        assert [next(coming) for _ in range(3)] == [b": ping"] * 3
        standin.steps.release(1)
        assert json.loads(next(line for line in coming if line != b": ping")[6:])["delta"]
        assert next(coming) == b": ping"
        standin.steps.release(9)
        rest = [line for line in coming if line != b": ping"]
        assert rest[-1] == b"data: [DONE]"


def test_progress_without_text_does_not_put_off_the_comments(
    standin: StandIn, tmp_path: Path
) -> None:
    standin.behave("ok", [engine.PROGRESS] * 20_000 + heard("Hello."))
    with (
        running(tmp_path, standin.port, app="tests.api.impatient:create_app()") as gateway,
        gateway.follow() as response,
    ):
        received = [line for line in response.iter_lines() if line]
    assert received[:2] == [b": ping"] * 2
    assert received[-1] == b"data: [DONE]"


def test_no_silence_is_longer_than_a_quarter_of_a_minute() -> None:
    assert streams.HEARTBEAT_S == 15


@pytest.mark.parametrize("place", [f"{DECODER} of small files", "whisperx"])
def test_a_stream_that_waits_for_a_place_says_so_and_keeps_its_recording(
    standin: StandIn, tmp_path: Path, place: str
) -> None:
    count = 2 if place == "whisperx" else len(os.sched_getaffinity(0))
    settings = {"SPEECH_PLACES": "2", "SPEECH_MAX_UPLOADS": "1", "SPEECH_WORKERS": "1"}
    with running(
        tmp_path, standin.port, app="tests.api.impatient:create_app()", **settings
    ) as gateway:
        url, fields = gateway.url + OURS, {"stream": "true"}
        with taken(gateway, place, count):
            response = requests.post(url, fields, files={"file": MP3}, timeout=20, stream=True)
            coming = (json.loads(line) for line in response.iter_lines())
            waiting = {"type": "progress", "stage": "waiting", "done_s": 0.0, "total_s": 0.0}
            assert [next(coming) for _ in range(3)] == [waiting] * 3
            assert response.headers["x-served-by"] == "whisperx"
            assert standin.received == []
            second = gateway.transcribe()
            assert second.json()["error"]["code"] == "too_many_uploads"
        with response:
            assert list(coming)[-1]["type"] == "end"
        assert not gateway.files()
        assert gateway.transcribe().status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_refusal_after_the_first_sign_of_life_ends_the_stream(
    standin: StandIn, tmp_path: Path, path: str
) -> None:
    settings = {"SPEECH_PLACES": "1", "SPEECH_QUEUE_DEADLINE_S": "0.5"}
    with (
        running(
            tmp_path, standin.port, app="tests.api.impatient:create_app()", **settings
        ) as gateway,
        taken(gateway, "whisperx", 1),
    ):
        assert last(gateway, path)["error"]["code"] == "queue_full"
        assert eventually(lambda: not gateway.files())


def test_a_client_that_hangs_up_while_it_waits_leaves_nothing(
    standin: StandIn, tmp_path: Path
) -> None:
    standin.behave("stepwise")
    settings = {"SPEECH_PLACES": "1", "SPEECH_MAX_UPLOADS": "1", "SPEECH_WORKERS": "1"}
    with running(
        tmp_path, standin.port, app="tests.api.impatient:create_app()", **settings
    ) as gateway:
        with gateway.connect() as client:
            client.sendall(upload())
            assert standin.started.wait(10)
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            assert gateway.files()
        assert standin.hung_up.wait(10), "the engine went on for nobody"
        assert eventually(lambda: not gateway.files())
        standin.behave("ok")
        assert gateway.transcribe().status_code == 200, "a place was not freed"


def test_our_own_stream_repeats_its_progress_in_silence(standin: StandIn, tmp_path: Path) -> None:
    standin.behave("stepwise")
    standin.steps.release(3)
    with (
        running(tmp_path, standin.port, app="tests.api.impatient:create_app()") as gateway,
        gateway.follow(OURS) as response,
    ):
        coming = (json.loads(line) for line in response.iter_lines())
        reached = next(line for line in coming if line.get("stage") == "transcription")
        assert [next(coming), next(coming)] == [reached] * 2
        standin.steps.release(9)
        assert list(coming)[-1]["type"] == "end"


def test_a_client_that_reads_nothing_is_dropped_and_holds_little(
    standin: StandIn, tmp_path: Path
) -> None:
    standin.behave("flood")
    settings = {"SPEECH_WORKERS": "1", "SPEECH_BODY_TIMEOUT_S": "1"}
    with running(tmp_path, standin.port, **settings) as gateway, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(upload())
        assert standin.hung_up.wait(20), "the engine went on for nobody"
        assert standin.flooded < 32_000_000, "the gateway took more than the sockets' buffers hold"
        assert eventually(lambda: not gateway.files())
        assert gateway.get("/livez").status_code == 200
        assert "took nothing of its answer" in gateway.log.read_text()
        assert "Traceback" not in gateway.log.read_text()


@pytest.mark.parametrize("path", PATHS)
def test_the_time_limit_holds_for_the_whole_stream(
    strict_gateway: Gateway, standin: StandIn, path: str
) -> None:
    standin.behave("stepwise")
    standin.steps.release(2)
    assert last(strict_gateway, path)["error"]["code"] == "time_limit"
    assert standin.hung_up.wait(10), "the engine's connection stayed open"


def test_the_engine_is_asked_for_a_stream_only_by_streams(
    gateway: Gateway, standin: StandIn
) -> None:
    with gateway.follow(OURS, num_speakers="2", prompt="Names") as response:
        assert response.content
    gateway.transcribe(None, OURS)
    (streamed, _wav), (plain, _wav) = (received.form() for received in standin.received)
    assert streamed.to_dict() == {"stream": "true", "num_speakers": "2", "prompt": "Names"}
    assert "stream" not in plain


def test_clients_of_http_1_0_get_the_stream_up_to_its_end(gateway: Gateway) -> None:
    with contextlib.closing(Store(None, gateway.state)) as store:
        key, _ = Keys(store).make("old")  # by HTTP/1.0 nobody gets in without
    sent = {"Authorization": f"Bearer {key}"}
    assert eventually(lambda: gateway.get("/v1/models", **sent).ok, within_s=20)
    head, _, rest = upload().partition(b" HTTP/1.1\r\n")
    with gateway.connect() as client:
        client.sendall(head + f" HTTP/1.0\r\nAuthorization: Bearer {key}\r\n".encode() + rest)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.endswith(b"data: [DONE]\n\n")

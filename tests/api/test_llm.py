"""/v1/chat/completions and its kin: what passes through, and what happens when it does not."""

import contextlib
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from urllib3.exceptions import ProtocolError

from proxy_app.access import Keys
from proxy_app.config import load_config
from proxy_app.services import Registry
from proxy_app.store import Store
from tests.api.conftest import eventually
from tests.api.llm import CHAT, KEY, Talking, question, two_behind
from tests.standins.upstream_llm import completion, events

ODD = [
    b": a comment\r\n\r\n",
    b'event: x\ndata: {"a"',
    b': "\xc3',
    b'\xa4"}\n',
    b"\n",
    b"data: [DONE]\n\n",
]
"""Events cut in two, in a letter and between the two ends of a line; line ends of all kinds."""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talking]:
    limits = {
        "SPEECH_WORKERS": "2",
        "SPEECH_LLM_MAX_BYTES": "200000",
        "SPEECH_LLM_FIRST_BYTE_S": "1.5",
        "SPEECH_LLM_IDLE_S": "0.7",
    }
    with two_behind(tmp_path_factory.mktemp("llm"), **limits) as talking:
        yield talking


@pytest.fixture
def llm(session: Talking) -> Iterator[Talking]:
    """Two well-behaved stand-ins, one of them registered; every test leaves the spool empty."""
    session.reset()
    yield session
    session.reset()
    left = session.gateway.files
    assert eventually(lambda: not left()), left()


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses"])
def test_what_is_asked_and_answered_stays_as_it_is_to_the_byte(llm: Talking, path: str) -> None:
    body = (
        b' {"model": "any/model",  "input":"Gr\\u00fc\xc3\x9fe", "unknown": [1e2], "model" : "m"}\n'
    )
    answer = llm.ask(body, path)
    assert llm.first.received[0].path == path
    assert llm.first.received[0].body == body
    assert answer.content == json.dumps(completion(path, json.loads(body))).encode()
    assert answer.headers["x-served-by"] == "first"
    assert answer.headers["Content-Length"] == str(len(answer.content))


@pytest.mark.parametrize("way", ["ok", "closing"])
def test_a_stream_is_passed_on_byte_for_byte_however_it_is_cut(llm: Talking, way: str) -> None:
    llm.first.behave(way, ODD)
    with llm.ask(stream=True) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.raw.read() == b"".join(ODD)


def test_every_piece_comes_before_the_next_one_is_sent(llm: Talking) -> None:
    llm.first.behave("stepwise", ODD)
    llm.first.steps.release()
    with llm.ask(stream=True) as answer:
        for number, piece in enumerate(ODD):
            assert answer.raw.read1(1000) == piece, number
            llm.first.steps.release()
        assert answer.raw.read1(1000) == b""


def test_a_client_that_hangs_up_closes_the_connection_to_the_model(llm: Talking) -> None:
    llm.first.behave("stepwise", ODD)
    llm.first.steps.release()
    with llm.ask(stream=True) as answer:
        assert answer.raw.read1(1000) == ODD[0]
    assert llm.first.hung_up.wait(10)


def test_a_client_that_hangs_up_before_the_first_byte_does_so_too(llm: Talking) -> None:
    llm.first.behave("hang")
    with pytest.raises(requests.ReadTimeout):
        requests.post(llm.gateway.url + CHAT, json=question(), timeout=0.3)
    assert llm.first.hung_up.wait(10)


def test_a_client_that_reads_nothing_slows_the_model_and_fills_no_memory(llm: Talking) -> None:
    llm.first.behave("flood")
    with llm.ask(stream=True) as answer:
        answer.raw.read1(10)
        most = 0
        while most != llm.first.flooded:  # until it is not taken any more
            most = llm.first.flooded
            eventually(lambda: llm.first.flooded > most, within_s=0.5)  # noqa: B023
        assert most < 40_000_000, "sockets' buffers are smaller"
        resident = [_resident_bytes(pid) for pid in llm.gateway.workers()]
    assert max(resident) < 200_000_000
    assert llm.first.hung_up.wait(10)


def test_who_is_asked_gets_our_key_and_nothing_of_the_clients(llm: Talking) -> None:
    sent = {
        "Authorization": "Bearer the-clients-key",
        "Cookie": "session=1",
        "X-Api-Key": "clients",
        "Connection": "keep-alive, x-secret",
        "X-Secret": "x",
        "x-request-id": "find-me",
    }
    answer = llm.ask(headers=sent)
    headers = llm.first.received[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["x-request-id"] == "find-me" == answer.headers["x-request-id"]
    assert headers["host"] == f"127.0.0.1:{llm.first.port}"
    assert not re.search("client|secret|cookie", json.dumps(headers).lower())


def test_of_an_answers_headers_only_its_own_are_passed_on(llm: Talking) -> None:
    llm.first.headers = {
        "Set-Cookie": "a=b",
        "Keep-Alive": "timeout=5",
        "X-Internal": "10.0.0.1",
        "Server": "vLLM",
        "openai-processing-ms": "12",
        "x-ratelimit-remaining-requests": "5",
        "x-request-id": "the-models-own",
    }
    headers = llm.ask(headers={"x-request-id": "mine"}).headers
    assert headers["openai-processing-ms"] == "12"
    assert headers["x-ratelimit-remaining-requests"] == "5"
    assert headers["x-request-id"] == "mine"
    assert not {"Set-Cookie", "Keep-Alive", "X-Internal"} & set(headers)
    assert headers["Server"] != "vLLM"


def test_what_is_compressed_all_the_same_says_so(llm: Talking) -> None:
    body = gzip.compress(b'{"packed": true}')
    llm.first.headers = {"Content-Encoding": "gzip"}
    llm.first.behave("ok", body)
    answer = llm.ask()
    assert llm.first.received[0].headers["accept-encoding"] == "identity"
    assert answer.json() == {"packed": True}


def test_the_environment_names_the_server_and_the_file_of_its_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    environ = {"LLM_HOST": "192.0.2.9", "LLM_API_KEY_FILE": str(tmp_path / "key")}
    environ["SPEECH_STATE_DIR"] = environ["SPEECH_SERVICES_DIR"] = str(tmp_path)
    (found,) = Registry(load_config(environ)).read().all("llm", "openai")
    assert (found.base_url, found.api_key) == ("http://192.0.2.9:8000", KEY)
    assert KEY not in repr(found)


def test_a_refusal_in_openais_words_is_passed_on_as_it_is(llm: Talking) -> None:
    error = {"message": "too many tokens", "type": "invalid_request_error", "param": "messages",
             "code": "context_length_exceeded"}  # fmt: skip
    llm.first.behave("400", {"error": error})
    answer = llm.ask()
    assert (answer.status_code, answer.json()) == (400, {"error": error})
    llm.first.behave("429", {"error": error})
    llm.first.headers = {"Retry-After": "7"}
    answer = llm.ask()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize(
    ("told_ms", "seconds", "ms"),
    [(None, "10", "10000"), ("1500", "2", "1500"), ("soon", "10", "soon")],
)
def test_a_refusal_that_lacks_something_of_openais_gets_it(
    llm: Talking, told_ms: str | None, seconds: str, ms: str
) -> None:
    llm.first.headers = {"retry-after-ms": told_ms} if told_ms else {}
    llm.first.behave("429", {"error": {"message": "slow down", "code": 7}, "id": "x"})
    answer = llm.ask()
    error = {"message": "slow down", "code": 7, "type": "rate_limit_error", "param": None}
    assert (answer.status_code, answer.json()) == (429, {"error": error, "id": "x"})
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert (answer.headers["Retry-After"], answer.headers["retry-after-ms"]) == (seconds, ms)
    llm.first.headers = {}
    llm.first.behave("400", {"error": {"message": "no"}})
    error = {"message": "no", "type": "invalid_request_error", "param": None, "code": None}
    answer = llm.ask()
    assert (answer.json(), "Retry-After" in answer.headers) == ({"error": error}, False)
    llm.first.behave("429", {"detail": "busy"})
    assert llm.ask().headers["Retry-After"] == "10"


@pytest.mark.parametrize(
    ("status", "told", "means", "words"),
    [
        ("400", {"detail": "no such field"}, (400, "upstream_rejected"), "no such field"),
        ("400", {"object": "error", "message": "too long"}, (400, "upstream_rejected"), "too long"),
        ("404", {"detail": "Not Found"}, (404, "not_found"), "does not serve /v1/chat/completions"),
        ("501", b"<html>", (404, "not_found"), "does not serve"),
        ("401", {"error": {"message": "bad key sk-1"}}, (502, "upstream_misconfigured"), "key"),
        ("500", {"error": {"message": "CUDA error"}}, (503, "upstream_unavailable"), "status 500"),
        ("503", b"loading", (503, "upstream_unavailable"), "status 503"),
        ("redirect", None, (502, "upstream_misconfigured"), "302"),
        ("reset", None, (503, "upstream_unavailable"), "broke off"),
        ("half", None, (503, "upstream_unavailable"), "broke off"),
    ],
)
def test_other_failures_are_openais_error_objects(
    llm: Talking, status: str, told: object, means: tuple[int, str], words: str
) -> None:
    llm.first.behave(status, told)
    answer = llm.ask()
    error = answer.json()["error"]
    expected, _code = means
    assert (answer.status_code, error["code"]) == means, answer.text
    assert words in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "CUDA" not in answer.text
    assert "sk-1" not in answer.text
    assert ("Retry-After" in answer.headers) == (expected == 503)
    assert (answer.headers.get("x-should-retry") == "false") == (expected == 502)


def test_a_failure_is_told_to_the_watch_process(llm: Talking) -> None:
    llm.ask()
    assert llm.gateway.reports.answered_since("first", 1)
    llm.first.behave("500", {})
    llm.ask()
    failure = llm.gateway.reports.last_failure("first")
    assert failure is not None
    assert failure.status == 500


def test_nobody_there_is_503_and_silence_504(llm: Talking) -> None:
    llm.first.behave("hang")
    answer = llm.ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "time_limit")
    assert "did not begin to answer within 2 s" in answer.text
    assert llm.first.hung_up.wait(10)
    llm.stop("first")
    answer = llm.ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_unavailable")
    assert "cannot be reached" in answer.text


@pytest.mark.parametrize(
    ("pieces", "closes"),
    [([b"data: {}\n\n"], b""), ([b"data: {}\r\n\r\n"], b""), ([b"data: {"], b"\n\n")],
)
def test_a_stream_that_breaks_off_ends_with_one_error_event(
    llm: Talking, pieces: list[bytes], closes: bytes
) -> None:
    llm.first.behave("cut", pieces)
    with llm.ask(stream=True) as answer:
        body = answer.raw.read()
    sent = b"".join(pieces) + closes + b"data: "
    assert body.startswith(sent)
    assert body.endswith(b"\n\n")
    error = json.loads(body.removeprefix(sent))["error"]
    assert (error["code"], error["type"]) == ("upstream_unavailable", "service_unavailable_error")


def test_into_a_compressed_stream_that_breaks_off_nothing_plain_is_put(llm: Talking) -> None:
    packed = gzip.compress(b"data: {}\n\n")
    llm.first.headers = {"Content-Encoding": "gzip"}
    llm.first.behave("cut", [packed])
    with llm.ask(stream=True) as answer:
        assert answer.raw.read(len(packed), decode_content=False) == packed
        with pytest.raises(ProtocolError):
            answer.raw.read(decode_content=False)


def test_a_stream_that_falls_silent_is_given_up(llm: Talking) -> None:
    llm.first.behave("silent")
    with llm.ask(stream=True) as answer:
        *_, last, _ = answer.raw.read().split(b"\n\n")
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "time_limit"
    assert llm.first.hung_up.wait(10)


def test_a_whole_answer_that_falls_silent_is_given_up_as_a_stream_is(llm: Talking) -> None:
    llm.first.behave("stall")
    error = llm.ask().json()["error"]
    assert (error["code"], "sent nothing more" in error["message"]) == ("time_limit", True)
    assert llm.first.hung_up.wait(10)


def test_an_answer_that_goes_on_keeps_neither_its_question_nor_a_place_for_uploads(
    tmp_path: Path,
) -> None:
    limits = {"SPEECH_WORKERS": "1", "SPEECH_MAX_UPLOADS": "1"}
    with two_behind(tmp_path, **limits) as talking:
        talking.first.behave("stepwise")
        talking.first.steps.release()
        with talking.ask(stream=True) as answer:
            assert next(answer.iter_lines())
            assert talking.gateway.files() == []
            talking.first.behave("ok")
            assert talking.ask().status_code == 200


def test_an_answer_that_breaks_off_late_is_not_taken_for_a_whole_one(llm: Talking) -> None:
    llm.first.behave("half", b"[" + b" " * 5_000_000 + b"]")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        llm.ask()


def test_a_large_answer_comes_whole(llm: Talking) -> None:
    body = b"[" + b"1," * 3_000_000 + b"1]"
    llm.first.behave("ok", body)
    assert llm.ask().content == body


@pytest.mark.parametrize(
    "odd",
    [
        b'"\\ud83d"', b'"a\\\\\\ud800b"', b"NaN", b"[-Infinity, Infinity, 1e999]", b'"a\tb"',
        b'"\\u0000"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_only_some_readers_take_is_for_the_server_to_judge(
    llm: Talking, odd: bytes, mark: bytes
) -> None:
    llm.register_both()
    llm.second.models = (200, ["small"])
    body = mark + b'{"temperature":' + odd + b',"model":"small","messages":[]}'
    llm.second.behave("ok", {"id": "x"})
    llm.second.is_blind = True
    answer = llm.ask(body)
    assert (answer.status_code, answer.headers["x-served-by"]) == (200, "second"), answer.text
    assert llm.second.received[0].body == body


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b'{"model": "\xff"}', 400, "invalid_json"),
        (b'{"a":' + b"[" * 90_000, 400, "invalid_json"),
        (b'{"a": "' + b"x" * 200_000 + b'"}', 413, "request_too_large"),
    ],
)
def test_what_is_no_request_is_refused_at_the_door(
    llm: Talking, body: bytes, status: int, code: str
) -> None:
    answer = llm.ask(body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert not llm.first.received


def test_a_body_without_a_length_is_bounded_too(llm: Talking) -> None:
    def pieces(count: int) -> Iterator[bytes]:
        yield b'{"model": "'
        yield from [b"x" * 10_000] * count
        yield b'"}'

    url, headers = llm.gateway.url + CHAT, {"Content-Type": "application/json"}
    assert requests.post(url, data=pieces(5), headers=headers, timeout=20).status_code == 200
    assert len(llm.first.received[0].body) == 50_013
    assert "content-length" in llm.first.received[0].headers
    assert requests.post(url, data=pieces(30), headers=headers, timeout=20).status_code == 413


def test_a_form_is_no_json_and_json_no_form(llm: Talking) -> None:
    url = llm.gateway.url
    form = requests.post(url + CHAT, files={"file": b"x"}, timeout=20)
    assert (form.status_code, form.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert "Content-Type: application/json" in form.text
    path = "/v1/audio/transcriptions"
    answer = requests.post(url + path, json={"model": "whisper-1"}, timeout=20)
    assert (answer.status_code, "multipart/form-data" in answer.text) == (400, True)


def test_a_clients_words_do_not_choose_the_server(llm: Talking) -> None:
    body = question(api_base=f"http://127.0.0.1:{llm.second.port}", base_url="http://evil")
    assert llm.ask(body, headers={"X-Original-URL": "http://evil/v1/models"}).ok
    assert not llm.second.received


def test_without_a_model_server_it_says_so(llm: Talking) -> None:
    for path in llm.folder.glob("*.json"):
        path.unlink()
    answer = llm.ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_service")
    assert answer.headers["Retry-After"] == "60"


def test_what_runs_for_a_key_ends_soon_after_it_was_revoked(tmp_path: Path) -> None:
    with two_behind(tmp_path) as llm, contextlib.closing(Store(None, tmp_path)) as store:
        llm.first.behave("stepwise", ODD)
        llm.first.steps.release()
        key, known = Keys(store).make("to be revoked")
        by_key = {"Authorization": f"Bearer {key}"}
        assert eventually(lambda: llm.ask(b"", headers=by_key).status_code != 401)
        with llm.ask(stream=True, headers=by_key) as answer:
            assert answer.raw.read1(1000) == ODD[0]
            Keys(store).revoke(known.id)
            told = answer.raw.read().removeprefix(b"data: ")
        assert json.loads(told)["error"]["code"] == "invalid_api_key"
        assert llm.first.hung_up.wait(10)


# Several servers.


def test_who_has_the_model_is_asked(llm: Talking) -> None:
    llm.register_both()
    llm.second.models = (200, ["org/large", "small"])
    for model in ("small", "org/large"):
        assert llm.ask(question() | {"model": model}).headers["x-served-by"] == "second"
    assert llm.ask(question() | {"model": "stand-in/echo-1"}).headers["x-served-by"] == "first"
    assert llm.second.asked_for_models <= 2, "once for each worker, for some seconds"


def test_where_none_has_the_model_or_both_the_least_busy_one_is_asked(llm: Talking) -> None:
    llm.register_both()
    for standin in (llm.first, llm.second):
        standin.behave("stepwise", ODD)
        standin.steps.release()
    with llm.ask(stream=True) as one, llm.ask(stream=True) as two:
        assert {one.headers["x-served-by"], two.headers["x-served-by"]} == {"first", "second"}


@pytest.mark.parametrize("way", ["500", "reset", "half", "401", "stopped"])
def test_another_one_takes_over_before_the_answer_has_begun(llm: Talking, way: str) -> None:
    llm.register("second", llm.second.port)
    llm.second.models = (200, ["other"])  # so that the first one is asked first
    if way == "stopped":
        llm.stop("first")
    else:
        llm.first.behave(way, {} if way.isdecimal() else None)
    answer = llm.ask(question("over to you") | {"model": "stand-in/echo-1"})
    assert (answer.status_code, answer.headers["x-served-by"]) == (200, "second")
    assert answer.json()["choices"][0]["message"]["content"] == "over to you"
    assert len(llm.first.received) == (way != "stopped")


def test_none_takes_over_once_it_has_begun_or_after_a_refusal(llm: Talking) -> None:
    llm.register("second", llm.second.port)
    llm.second.models = (200, ["other"])
    chosen = {"model": "stand-in/echo-1"}
    llm.first.behave("cut", [b"data: {}\n\n"])
    assert b"upstream_unavailable" in llm.ask(question(stream=True) | chosen).content
    llm.first.behave("400", {"error": {"message": "no"}})
    assert llm.ask(question() | chosen).status_code == 400
    assert not llm.second.received


def test_one_that_loads_is_passed_over_and_when_none_is_ready_it_is_503(llm: Talking) -> None:
    llm.register_both()
    llm.first.models = (503, [])
    assert {llm.ask().headers["x-served-by"] for _ in range(3)} == {"second"}
    llm.second.models = (503, [])
    llm.register_both()  # anew: nothing is remembered of it
    answer = llm.ask()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert "warming" in answer.text
    assert len(llm.first.received) + len(llm.second.received) == 3


def test_a_full_server_is_429_with_the_time_to_come_back(tmp_path: Path) -> None:
    limits = {"SPEECH_LLM_PLACES": "1", "SPEECH_QUEUE_DEADLINE_S": "0.2", "SPEECH_WORKERS": "2"}
    with two_behind(tmp_path, **limits) as llm:
        llm.first.behave("stepwise", ODD)
        llm.first.steps.release()
        with llm.ask(stream=True) as answer:
            assert answer.ok
            refused = [llm.ask() for _ in range(3)]
        assert {one.status_code for one in refused} == {429}
        assert refused[0].headers["Retry-After"] == "10"
        assert refused[0].json()["error"]["code"] == "queue_full"
        llm.first.behave("ok")
        assert eventually(lambda: llm.ask().ok), "the place is free when the client is gone"


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_the_stand_in_streams_what_it_answers() -> None:
    asked = question("a b")
    assert len(events(CHAT, asked)) == 4

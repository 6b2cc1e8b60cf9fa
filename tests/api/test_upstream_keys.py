"""A service that quotes the key it was sent: nobody else gets to see it, the log neither."""

import json
from collections.abc import Iterator

import pytest
import requests

from tests.api.conftest import eventually
from tests.api.llm import KEY, Talking, question, two_behind
from tests.api.recordings import canonical_wav
from tests.standins.served import Served
from tests.standins.upstream_llm import NAME
from tests.standins.upstream_speech import Kokoro, Magpie
from tests.standins.upstream_whisperx import StandIn

QUOTES = f"no: Bearer {KEY}, {KEY}"
HIDDEN = "no: Bearer ***, ***"
ESCAPED = json.dumps({"error": {"message": QUOTES}}).replace(KEY, f"\\u{ord(KEY[0]):04x}{KEY[1:]}")
LONG = "x" * 989 + " " + KEY
"""Cut after a thousand characters, which would leave the key's beginning."""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talking]:
    with two_behind(tmp_path_factory.mktemp("keys")) as talking:
        yield talking


@pytest.fixture
def llm(session: Talking) -> Talking:
    session.reset()
    return session


@pytest.fixture(scope="module")
def others() -> Iterator[dict[str, Served]]:
    with Kokoro() as kokoro, Magpie() as magpie, StandIn() as engine:
        yield {"openai": kokoro, "magpie": magpie, "whisperx": engine}


def _check(llm: Talking, answer: requests.Response, about: str) -> None:
    """Neither the answer nor the log has the key, although the log tells of the request."""
    shown = answer.text + str(answer.headers)
    assert KEY not in shown
    assert KEY[:10] not in shown
    asked = answer.headers["x-request-id"]
    assert eventually(lambda: asked in llm.gateway.log.read_text())
    assert KEY not in llm.gateway.log.read_text(), about


TWICE = f'''{{"error": {{"message": "{KEY}"}}, "tried": [{{"key": "{KEY}", "key": 1}}],
    "error": {{"message": "{KEY}", "message": "no", "type": "e"}}}}'''
"""Of a member that comes twice the last counts, and what is before it is read by nobody."""
Failure = tuple[str, object, str]
"""A status, an answer, and what is to be read of it."""
FAILURES: list[Failure] = [
    ("400", {"error": {"message": QUOTES}}, HIDDEN),
    ("400", ESCAPED.encode(), HIDDEN),
    ("400", {"error": {"message": f"密钥{KEY}。 ?key%3D{KEY}"}}, "密钥***。 ?key%3D***"),
    ("400", TWICE.encode(), "no"),
    ("400", {"detail": QUOTES}, HIDDEN),
    ("422", {"error": QUOTES}, HIDDEN),
    ("429", {"error": {"message": "no", "code": KEY, "param": KEY}}, "no"),
    ("400", {"error": {"message": LONG}}, "x" * 989 + " "),
    ("401", {"error": {"message": QUOTES}}, "key"),
    ("500", {"error": {"message": QUOTES}}, "status 500"),
    ("503", {"detail": QUOTES}, "status 503"),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_language_model_that_quotes_its_key(llm: Talking, failure: Failure) -> None:
    status, told, words = failure
    llm.first.headers = {"x-ratelimit-limit": f"of {KEY}", "openai-organization": KEY}
    llm.first.behave(status, told)
    for stream in (False, True):
        with llm.ask(question(stream=stream)) as answer:
            assert words in answer.json()["error"]["message"]
            _check(llm, answer, status)


def test_a_refusal_keeps_everything_but_the_key(llm: Talking) -> None:
    error = {"message": "no", "type": KEY, "param": None, "code": 7}
    llm.first.behave("400", {"error": error, KEY: [{"tried": [f"<{KEY}>", 1.5, True]}]})
    answer = llm.ask()
    assert answer.json() == {
        "error": error | {"type": "***"},
        "***": [{"tried": ["<***>", 1.5, True]}],
    }
    assert answer.headers["Content-Length"] == str(len(answer.content))


def test_a_good_answer_has_no_key_in_its_headers(llm: Talking) -> None:
    llm.first.headers = {"x-ratelimit-limit": f"5 of {KEY}", "openai-organization": KEY}
    for stream in (False, True):
        with llm.ask(question(stream=stream)) as answer:
            assert answer.headers["x-ratelimit-limit"] == "5 of ***"
            assert answer.headers["openai-organization"] == "***"


SHORT = ["1", "-", "x", "e", "gpt", "local", "retry-after", "x-ratelimit"]
"""Keys as servers are given that take any."""


@pytest.mark.parametrize("key", SHORT)
@pytest.mark.parametrize("status", ["400", "429"])
def test_a_short_key_leaves_a_refusal_as_it_is(llm: Talking, key: str, status: str) -> None:
    llm.register("first", llm.first.port, key=key)
    error = {"message": f"no local gpt-1: {key}", "type": "e", "param": None, "code": key}
    told = json.dumps({"error": error, key: [key]}).encode()
    own = {"x-ratelimit-limit": f"1 of {key}", "Retry-After": "11", "x-should-retry": "true"}
    llm.first.headers = own
    llm.first.behave(status, told)
    answer = llm.ask()
    assert llm.first.received[0].headers["authorization"] == f"Bearer {key}"
    assert answer.status_code == int(status)
    assert answer.content == told
    assert answer.headers["Content-Length"] == str(len(told))
    assert answer.headers["Content-Type"] == "application/json"
    assert own.items() <= dict(answer.headers).items()


def test_the_key_inside_a_longer_word_leaves_a_refusal_as_it_is(llm: Talking) -> None:
    words = f"{KEY}s {KEY}-2 my_{KEY}"
    error = {"message": words, "type": "e", "param": None, "code": None}
    told = json.dumps({"error": error}).encode()
    llm.first.headers = {"openai-organization": words}
    llm.first.behave("400", told)
    answer = llm.ask()
    assert answer.content == told
    assert answer.headers["openai-organization"] == words


def test_headers_that_frame_an_answer_stay_whatever_the_key_is(llm: Talking) -> None:
    kind = "application/json"
    llm.register("first", llm.first.port, key=kind)
    llm.first.headers = {"x-ratelimit-limit": kind, "Retry-After": "7"}
    llm.first.behave("400", {"error": {"message": f"no {kind}"}})
    answer = llm.ask()
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["Retry-After"] == "7"
    assert answer.headers["x-ratelimit-limit"] == "***"
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert answer.json()["error"]["message"] == "no ***"


@pytest.mark.parametrize("key", [*SHORT, "stand-in", NAME])
def test_models_have_their_names_whatever_the_key_is(llm: Talking, key: str) -> None:
    def listed() -> bytes:
        return llm.gateway.get("/v1/models").content

    llm.register("first", llm.first.port, key="another-long-key")
    before = listed()
    assert NAME.encode() in before
    llm.register("first", llm.first.port, key=key)
    assert listed() == before
    assert llm.gateway.get(f"/v1/models/{NAME}").json()["id"] == NAME


def test_a_model_named_like_the_key_is_still_asked_where_it_is(llm: Talking) -> None:
    llm.register("second", llm.second.port, key="e")
    llm.second.models = (200, ["here-elsewhere"])
    for _ in range(3):
        answer = llm.ask(question() | {"model": "here-elsewhere"})
        assert answer.headers["x-served-by"] == "second"


@pytest.mark.parametrize(("key", "shown"), [("a" * 11, "a" * 11), ("a" * 12, "***")])
def test_a_key_is_a_secret_from_twelve_characters_on(llm: Talking, key: str, shown: str) -> None:
    llm.register("first", llm.first.port, key=key)
    llm.first.behave("400", {"error": {"message": f"no {key}"}})
    assert llm.ask().json()["error"]["message"] == f"no {shown}"


def test_voices_have_their_names_whatever_the_key_is(
    llm: Talking, others: dict[str, Served]
) -> None:
    standin = others["openai"]
    standin.reset()
    name = "af_bella_and_george"
    standin.lists["/v1/audio/voices"] = 200, {"voices": [name]}  # type: ignore[attr-defined]
    llm.register("voice", standin.port, key=name, kind="tts", api="openai")
    assert name in llm.gateway.get("/v1/audio/voices").text
    asked = {"model": "tts-1", "voice": name, "input": "Hello."}
    answer = requests.post(f"{llm.gateway.url}/v1/audio/speech", json=asked, timeout=20)
    assert answer.status_code == 200, answer.text
    assert json.loads(standin.received[-1].body)["voice"] == name


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("api", ["openai", "magpie"])
def test_a_voice_that_quotes_its_key(
    llm: Talking, others: dict[str, Served], api: str, failure: Failure
) -> None:
    status, told, words = failure
    standin = others[api]
    standin.reset()
    llm.register("voice", standin.port, kind="tts", api=api)
    standin.behave(status, told)
    asked = {"model": "tts-1", "voice": "alloy", "input": "Hello."}
    answer = requests.post(f"{llm.gateway.url}/v1/audio/speech", json=asked, timeout=20)
    assert words in answer.json()["error"]["message"]
    _check(llm, answer, status)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_transcriber_that_quotes_its_key(
    llm: Talking, others: dict[str, Served], failure: Failure, stream: str
) -> None:
    status, told, words = failure
    standin = others["whisperx"]
    standin.reset()
    llm.register("whisperx", standin.port, kind="speakers", api="whisperx")
    standin.behave(status, told)
    answer = llm.gateway.transcribe(canonical_wav(2), model="whisper-1", stream=stream)
    assert words in answer.text
    _check(llm, answer, status)


def test_what_a_service_says_of_its_health_has_no_key(
    llm: Talking, others: dict[str, Served]
) -> None:
    standin = others["whisperx"]
    standin.reset()
    standin.health = (503, {"whisper_loaded": False, "detail": QUOTES})  # type: ignore[attr-defined]
    llm.register("whisperx", standin.port, kind="speakers", api="whisperx")
    shown = llm.gateway.get("/readyz?verbose").text
    assert HIDDEN in shown
    assert KEY not in shown

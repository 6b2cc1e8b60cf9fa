"""A service that quotes the key it was sent: nobody else gets to see it, the log neither."""

import json
from collections.abc import Iterator

import pytest
import requests

from tests.api.conftest import eventually
from tests.api.llm import KEY, Talking, question, two_behind
from tests.api.recordings import canonical_wav
from tests.standins.served import Served
from tests.standins.upstream_speech import Kokoro, Magpie
from tests.standins.upstream_whisperx import StandIn

QUOTES = f"no: Bearer {KEY}, {KEY}"
HIDDEN = "no: Bearer ***, ***"
ESCAPED = json.dumps({"error": {"message": QUOTES}}).replace(KEY, f"\\u{ord(KEY[0]):04x}{KEY[1:]}")
LONG = "x" * 990 + KEY
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


Failure = tuple[str, object, str]
"""A status, an answer, and what is to be read of it."""
FAILURES: list[Failure] = [
    ("400", {"error": {"message": QUOTES}}, HIDDEN),
    ("400", ESCAPED.encode(), HIDDEN),
    ("400", {"detail": QUOTES}, HIDDEN),
    ("422", {"error": QUOTES}, HIDDEN),
    ("429", {"error": {"message": "no", "code": KEY, "param": KEY}}, "no"),
    ("400", {"error": {"message": LONG}}, "x" * 990),
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

"""OpenAI's SDKs before a gateway whose only speech service, a stand-in for WhisperX, is full, fails
or is absent: they come back when they are told to, and get what they asked for when it is there.

It translates as well, which the model that the other tests of this folder hear with does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import openai
import pytest

from proxy_app.services import Places
from proxy_app.watch.clip import CLIP
from tests.api.conftest import engine, free_port, running, standin
from tests.clients.contract import broken
from tests.clients.home import CLIENT_WITHIN_S
from tests.clients.test_openai_node import scripts
from tests.clients.wire import Wire
from tests.standins.upstream_whisperx import StandIn

_FIXTURES = (engine, standin, scripts)

TEXT = "Hello. Good morning, all."
SOON = ("10", 10_000)
A_MINUTE = ("60", 59_000)
"""Retry-After, and the milliseconds that both SDKs wait then: of a minute a second less, because
older ones wait less than a minute alone."""
Wait = Callable[[int], None]
"""Is told how long a client waits, in ms, and the wait is over when it returns."""


@dataclass
class Hall:
    """A gateway, by way of a wire."""

    wire: Wire
    places: Places

    @property
    def v1(self) -> str:
        return f"http://127.0.0.1:{self.wire.port}/v1"

    def answers(self) -> list[tuple[int, str | None]]:
        """The status and the Retry-After of each answer so far."""
        found = self.wire.exchanges()
        return [(it.status, it.answer_headers["Retry-After"]) for it in found]


@pytest.fixture(scope="module")
def session_hall(engine: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    settings = {"SPEECH_PLACES": "1", "SPEECH_QUEUE_DEADLINE_S": "0.4"}
    state = tmp_path_factory.mktemp("hall")
    with running(state, engine.port, **settings) as gateway, Wire(gateway.port) as wire:
        yield Hall(wire, gateway.places)


@pytest.fixture
def hall(
    session_hall: Hall,
    standin: StandIn,
    document: dict[str, Any] | None,
) -> Iterator[Hall]:
    """All well at first; whatever a client was answered is looked at in the end."""
    session_hall.wire.forget()
    yield session_hall
    found = session_hall.wire.exchanges()
    assert [it for exchange in found for it in broken(exchange, document)] == []


class Client(Protocol):
    """One of OpenAI's SDKs, with two retries, as it is by default."""

    def __call__(self, hall: Hall, asked: str, wait: Wait) -> Any:  # noqa: ANN401 - any JSON
        """What came of a case of transcription_retries.mjs, errors as their status and code."""


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch) -> Client:
    def ask(hall: Hall, asked: str, wait: Wait) -> Any:  # noqa: ANN401 - any JSON
        # Its own clock, and not that of everything else in this process.
        clock = SimpleNamespace(**vars(time) | {"sleep": lambda s: wait(round(s * 1000))})
        monkeypatch.setattr("openai._base_client.time", clock)
        with openai.OpenAI(base_url=hall.v1, api_key="x", timeout=CLIENT_WITHIN_S) as client:
            assert client.max_retries == 2
            try:
                return _asked(client, asked)
            except openai.APIStatusError as error:
                return [error.status_code, error.code]

    return ask


def _asked(client: openai.OpenAI, asked: str) -> Any:  # noqa: ANN401 - any JSON
    audio = client.audio
    if asked == "streamed":
        events = audio.transcriptions.create(file=CLIP, model="gpt-4o-transcribe", stream=True)
        return [event.to_dict() for event in events]
    if asked == "whole":
        return audio.transcriptions.create(file=CLIP, model="whisper-1").to_dict()
    with pytest.deprecated_call():  # by OpenAI, which gives translations up
        if asked == "translated":
            return audio.translations.create(file=CLIP, model="whisper-1").to_dict()
        return audio.translations.create(
            file=CLIP, model="whisper-1", response_format="verbose_json"
        ).to_dict()


@pytest.fixture
def node(scripts: Path) -> Client:
    def ask(hall: Hall, asked: str, wait: Wait) -> Any:  # noqa: ANN401 - any JSON
        own = {"BASE_URL": hall.v1, "API_KEY": "x", "CLIP": str(CLIP), "CASE": asked}
        with subprocess.Popen(
            ["node", "transcription_retries.mjs"],
            cwd=scripts, env={"PATH": os.environ["PATH"], **own},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdin
            assert process.stdout
            try:
                for line in map(json.loads, process.stdout):
                    if "waits" not in line:
                        raised = [line.get("status"), line.get("code")]
                        return line.get("got", raised)
                    wait(line["waits"])
                    process.stdin.write("\n")
                    process.stdin.flush()
            finally:
                process.kill()
        raise AssertionError("it says nothing")

    return ask


@pytest.fixture(params=["python", "node"])
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.getfixturevalue(request.param)
    return found


def text_of(got: Any) -> str:  # noqa: ANN401 - any JSON
    """Of an answer, or of the last event of a stream."""
    last = got[-1] if isinstance(got, list) else got
    text: str = last["text"]
    return text


@pytest.mark.parametrize("asked", ["whole", "streamed"])
def test_a_full_service_is_asked_again_and_answers_when_its_place_is_free(
    hall: Hall, standin: StandIn, client: Client, asked: str
) -> None:
    waits: list[int] = []
    with contextlib.ExitStack() as others:
        others.enter_context(hall.places.hold("whisperx", 1, 5))

        def wait(ms: int) -> None:
            waits.append(ms)
            if len(waits) == 2:  # the first time it is still full
                others.close()

        assert text_of(client(hall, asked, wait)) == TEXT
    seconds, ms = SOON
    assert hall.answers() == [(429, seconds), (429, seconds), (200, None)]
    assert waits == [ms, ms]
    assert len(standin.received) == 1
    lengths = {it.headers["Content-Length"] for it in hall.wire.exchanges()}
    assert len(lengths) == 1, "by its length a second upload is known for what it may be"
    assert None not in lengths


@pytest.mark.parametrize("asked", ["whole", "streamed"])
@pytest.mark.parametrize("behaviour", ["500", "reset"])
def test_a_service_that_fails_before_its_first_word_is_asked_again(
    hall: Hall, standin: StandIn, client: Client, behaviour: str, asked: str
) -> None:
    waits: list[int] = []

    def wait(ms: int) -> None:
        waits.append(ms)
        standin.behave("ok")

    standin.behave(behaviour, {})
    assert text_of(client(hall, asked, wait)) == TEXT
    seconds, ms = A_MINUTE
    assert hall.answers() == [(503, seconds), (200, None)]
    assert waits == [ms]
    assert len(standin.received) == 2


@pytest.mark.parametrize("asked", ["whole", "streamed"])
def test_an_absent_service_is_asked_again_and_answers_when_it_is_there(
    tmp_path: Path, client: Client, asked: str
) -> None:
    port = free_port()
    waits: list[int] = []
    with (
        running(tmp_path, port) as gateway,
        Wire(gateway.port) as wire,
        contextlib.ExitStack() as services,
    ):
        hall = Hall(wire, gateway.places)

        def wait(ms: int) -> None:
            waits.append(ms)
            services.enter_context(StandIn(port))

        assert text_of(client(hall, asked, wait)) == TEXT
        assert [status for status, _ in hall.answers()] == [503, 200]
    assert waits == [A_MINUTE[1]]


def test_a_service_that_stays_away_is_the_sdks_error_after_two_retries(
    hall: Hall, standin: StandIn, client: Client
) -> None:
    waits: list[int] = []
    standin.behave("503", {})
    assert client(hall, "whole", waits.append) == [503, "upstream_unavailable"]
    assert hall.answers() == [(503, A_MINUTE[0])] * 3
    assert waits == [A_MINUTE[1]] * 2


def test_what_a_retry_cannot_mend_is_not_asked_again(
    hall: Hall, standin: StandIn, client: Client
) -> None:
    waits: list[int] = []
    standin.behave("401", {})
    status, code = client(hall, "whole", waits.append)
    assert (status, code) == (502, "upstream_misconfigured")
    assert waits == []
    assert len(standin.received) == 1


def test_nodes_sdk_sends_a_stream_but_once(hall: Hall, standin: StandIn, node: Client) -> None:
    """It cannot read it again; docs/long-recordings.md says what to send instead."""
    waits: list[int] = []
    standin.behave("503", {})
    assert node(hall, "of_a_stream", waits.append) == [503, "upstream_unavailable"]
    assert waits == []


def test_a_translation_is_one_to_the_sdks(hall: Hall, standin: StandIn, client: Client) -> None:
    assert client(hall, "translated", lambda _ms: None)["text"] == TEXT
    verbose = client(hall, "translated_verbose", lambda _ms: None)
    assert (verbose["text"], verbose["language"], verbose["task"]) == (TEXT, "english", "translate")
    assert verbose["segments"][0]["text"] == "Hello."
    assert [it.status for it in hall.wire.asked("/v1/audio/translations")] == [200, 200]
    assert {it.path for it in standin.received} == {"/v1/audio/translations"}

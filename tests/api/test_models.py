"""/v1/models, and OpenAI's own client in front of what language models do."""

import re
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests

from tests.api.llm import Talking, two_behind
from tests.api.openai_document import problems
from tests.standins.upstream_llm import NAME
from tests.standins.upstream_parakeet import Parakeet, Sortformer
from tests.standins.upstream_speech import Magpie
from tests.standins.upstream_whisperx import StandIn

ALIASES = {"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"}
SPEECH = {"tts-1", "tts-1-hd", "gpt-4o-mini-tts"}


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talking]:
    with two_behind(tmp_path_factory.mktemp("models"), SPEECH_WORKERS="1") as talking:
        yield talking


@pytest.fixture(autouse=True)
def _reset(llm: Talking) -> None:
    llm.reset()


@pytest.fixture(scope="module")
def client(llm: Talking) -> Iterator[openai.OpenAI]:
    url = f"{llm.gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=20) as made:
        yield made


def listed(llm: Talking) -> dict[str, Any]:
    answer = llm.gateway.get("/v1/models").json()
    return {model["id"]: model["served_by"] for model in answer["data"]}


def test_every_model_says_where_it_goes(llm: Talking, engine: StandIn) -> None:
    with Parakeet() as parakeet, Sortformer() as sortformer, Magpie() as magpie:
        llm.register("whisperx", engine.port, kind="speakers", api="whisperx")
        llm.register("parakeet", parakeet.port, kind="asr", api="parakeet")
        llm.register("sortformer", sortformer.port, kind="diarize", api="sortformer")
        llm.register("voices", magpie.port, kind="tts", api="magpie", model="magpie-multilingual")
        found = listed(llm)
    both = ["parakeet", "whisperx"]
    assert {name: found[name] for name in ALIASES} == dict.fromkeys(ALIASES, both)
    assert found["stand-in parakeet"] == both
    assert found["gpt-4o-transcribe-diarize"] == ["whisperx", "parakeet+sortformer"]
    assert {name: found[name] for name in SPEECH} == {name: ["voices"] for name in SPEECH}
    assert (found["tiny.en"], found[NAME]) == (["whisperx", "parakeet"], ["first"])
    assert found["magpie-multilingual"] == ["voices"]
    assert found["Magpie-Multilingual.EN-US.Mia"] == ["voices"]


def test_a_voice_takes_no_models_place(llm: Talking, engine: StandIn) -> None:
    names = ["whisper-1", "TTS-1", "gpt-4o-transcribe-diarize", "alloy", "tiny.en", NAME, "voices"]
    with Magpie() as magpie:
        magpie.lists["/v1/audio/list_voices"] = 200, {"en-US": {"voices": [*names, "Mia"]}}
        llm.register("voices", magpie.port, kind="tts", api="magpie")
        without = listed(llm)
        llm.register("whisperx", engine.port, kind="speakers", api="whisperx")
        found = listed(llm)
    assert set(without) == SPEECH | {"gpt-4o-mini-tts-2025-12-15", "tiny.en", "voices", "Mia", NAME}
    assert found["whisper-1"] == found["gpt-4o-transcribe-diarize"] == ["whisperx"]
    assert (found["tiny.en"], found[NAME]) == (["whisperx"], ["first"])
    assert not {"TTS-1", "alloy"} & set(found)


def test_what_no_service_is_registered_for_is_not_listed(llm: Talking) -> None:
    assert listed(llm) == {NAME: ["first"]}
    llm.register_both()
    llm.second.models = (200, ["org/large", NAME])
    assert listed(llm) == {NAME: ["first", "second"], "org/large": ["second"]}
    llm.stop("second")
    assert listed(llm) == {NAME: ["first"]}


def test_lists_and_errors_are_openais(llm: Talking, schema: dict[str, Any]) -> None:
    answer = llm.gateway.get("/v1/models").json()
    assert list(problems(schema, "ListModelsResponse", answer)) == []
    one = llm.gateway.get(f"/v1/models/{NAME}").json()
    assert list(problems(schema, "Model", one)) == []
    refused = llm.gateway.get("/v1/models/nobody/knows-it")
    assert list(problems(schema, "ErrorResponse", refused.json())) == []
    llm.first.behave("500", {})
    assert list(problems(schema, "ErrorResponse", llm.ask().json())) == []


@pytest.mark.parametrize("spelling", [NAME, NAME.replace("/", "%2F")])
def test_a_name_with_a_slash_is_found_however_it_is_spelled(llm: Talking, spelling: str) -> None:
    assert llm.gateway.get(f"/v1/models/{spelling}").json()["id"] == NAME


def test_an_unknown_model_is_openais_error_and_says_what_there_is(
    client: openai.OpenAI, llm: Talking
) -> None:
    with pytest.raises(openai.NotFoundError, match=re.escape(NAME)) as raised:
        client.models.retrieve("nobody/knows-it")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")
    assert raised.value.type == "invalid_request_error"


def test_the_client_lists_and_retrieves(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [NAME]
    model = client.models.retrieve(NAME)
    assert (model.object, model.owned_by) == ("model", "first")
    assert model.to_dict()["served_by"] == ["first"]


@pytest.mark.parametrize("of_responses", [False, True])
def test_the_client_raises_where_a_stream_breaks_off(
    client: openai.OpenAI, llm: Talking, *, of_responses: bool
) -> None:
    llm.first.behave("cut", [b'data: {"type":"x"}\n\n'])
    stream: Any
    if of_responses:
        stream = client.responses.create(model=NAME, input="a b", stream=True)
    else:
        stream = client.chat.completions.create(
            model=NAME, stream=True, messages=[{"role": "user", "content": "a b"}]
        )
    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)


def test_the_client_comes_back_after_503_and_429_when_it_is_told_to(llm: Talking) -> None:
    """It waits for as long as Retry-After says: here the model's own, which is passed on."""
    url = f"{llm.gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=1, timeout=20) as client:
        llm.first.headers = {"Retry-After": "1"}
        llm.first.behave("429", {"error": {"message": "later", "code": "busy"}})
        with pytest.raises(openai.RateLimitError):
            client.embeddings.create(model=NAME, input="x")
        assert len(llm.first.received) == 2
        llm.first.behave("401", {})
        with pytest.raises(openai.InternalServerError) as raised:
            client.embeddings.create(model=NAME, input="x")
        assert raised.value.status_code == 502
        assert len(llm.first.received) == 3, "x-should-retry: false"


def test_listing_asks_each_server_once_for_many(llm: Talking) -> None:
    llm.register("first", llm.first.port)
    asked = llm.first.asked_for_models
    for _ in range(10):
        assert requests.get(f"{llm.gateway.url}/v1/models", timeout=20).ok
    assert llm.first.asked_for_models - asked <= 3

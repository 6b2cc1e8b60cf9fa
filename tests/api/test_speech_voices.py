"""Whose voices speak, how they are listed, and what clients send that is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests

from tests.api.conftest import free_port
from tests.api.speaking import (
    JSON,
    SENTENCE,
    TEN,
    Speaking,
    openais_client,
    probed,
)
from tests.standins.upstream_speech import ARIA, CALM, MIA


@pytest.fixture(scope="module")
def client(session_speaking: Speaking) -> Iterator[openai.OpenAI]:
    with openais_client(session_speaking) as made:
        yield made


# Other services.


def test_a_server_with_openais_api_speaks_as_well(speaking: Speaking) -> None:
    speaking.register("kokoro", model="kokoro-v1")
    answer = speaking.post(
        model="kokoro", voice="af_bella", response_format="wav", instructions="Whisper."
    )
    assert answer.headers["x-served-by"] == "kokoro"
    assert probed(answer.content)[1] == pytest.approx(0.06 * len(SENTENCE), abs=0.01)
    (asked,) = speaking.kokoro.asked_for
    assert asked == {
        "model": "kokoro-v1",
        "input": SENTENCE,
        "voice": "af_bella",
        "response_format": "wav",
        "instructions": "Whisper.",
    }


def test_a_voice_that_only_one_service_has_goes_there(speaking: Speaking) -> None:
    speaking.register("kokoro")
    assert speaking.post(voice="bm_george").headers["x-served-by"] == "kokoro"
    assert speaking.post(voice=MIA, response_format="wav").headers["x-served-by"] == "magpie"
    assert speaking.post(voice="de+f3", response_format="wav").headers["x-served-by"] == "voice"


def test_a_server_without_a_list_is_asked_for_any_voice(speaking: Speaking) -> None:
    speaking.kokoro.lists.clear()
    speaking.register("kokoro")
    assert speaking.post(model="kokoro", voice="my_own", response_format="pcm").ok
    assert speaking.kokoro.asked_for[0]["voice"] == "my_own"


def test_without_any_server_espeak_speaks(speaking: Speaking) -> None:
    (speaking.gateway.state / "services.d/magpie.json").unlink()
    lengths = []
    for voice, speed in (("en-GB", 1), ("fr", 2), ("alloy", 1)):
        answer = speaking.post(voice=voice, speed=speed, response_format="wav")
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-served-by"] == "voice"
        lengths.append(probed(answer.content)[1])
    assert lengths[0] > lengths[1] > 0.5


# What there is.


def test_voices_are_listed_as_clients_read_them(speaking: Speaking) -> None:
    speaking.register("kokoro")
    listed = speaking.gateway.get("/v1/audio/voices").json()["voices"]
    by_id = {voice["id"]: voice for voice in listed}
    assert len(by_id) == len(listed)
    assert by_id[CALM] == {
        "id": CALM, "name": "Mia, calm (en-US)", "language": "en-US", "service": "magpie"
    }  # fmt: skip
    assert by_id["af_bella"]["service"] == "kokoro"
    assert by_id["de"]["name"] == "German"
    assert {"alloy", "shimmer"} <= by_id.keys()
    assert listed[0]["service"] != "voice"


def test_a_service_that_does_not_answer_hides_no_other_voices(speaking: Speaking) -> None:
    speaking.register("kokoro", free_port())
    ids = {voice["id"] for voice in speaking.gateway.get("/v1/audio/voices").json()["voices"]}
    assert MIA in ids
    assert "af_bella" not in ids


def test_models_are_listed_as_clients_read_them(speaking: Speaking) -> None:
    speaking.register("magpie", model="magpie-tts-multilingual")
    listed = [model["id"] for model in speaking.gateway.get("/v1/audio/models").json()["models"]]
    assert listed[:2] == ["tts-1", "tts-1-hd"]
    assert {"magpie", "magpie-tts-multilingual", "voice"} <= set(listed)
    assert speaking.post(model="magpie-tts-multilingual", response_format="pcm").ok


def test_a_voice_may_be_chosen_from_the_list_of_models(speaking: Speaking) -> None:
    listed = {it["id"]: it["served_by"] for it in speaking.gateway.get("/v1/models").json()["data"]}
    assert listed[ARIA] == ["magpie"]
    assert listed["tts-1"] == ["magpie", "voice"]
    assert "de" not in listed  # eSpeak NG's hundred languages
    assert speaking.post(model=ARIA, response_format="pcm").ok
    assert speaking.post(model=ARIA, voice=MIA, response_format="pcm").ok
    assert [asked["voice"] for asked in speaking.magpie.asked_for] == [ARIA, MIA]


# What is wrong with a request.


@pytest.mark.parametrize(
    ("asked", "param", "code", "says"),
    [
        ({"input": ""}, "input", "empty_string", "empty string"),
        ({"input": " \n"}, "input", "empty_string", "empty string"),
        ({"input": None}, "input", "missing_required_parameter", "Missing required"),
        ({"input": 5}, "input", "invalid_type", "expected a string, but got an integer"),
        (
            {"input": "x" * 5000}, "input", "string_above_max_length",
            "maximum length 4096, but got a string with length 5000",
        ),
        ({"voice": None}, "voice", "missing_required_parameter", "Missing required"),
        ({"voice": {}}, "voice.id", "missing_required_parameter", "Missing required"),
        ({"voice": "bob"}, "voice", "invalid_value", f"'shimmer', 'verse', '{ARIA}', '{MIA}'"),
        ({"speed": 9}, "speed", "decimal_above_max_value", "Expected a value <= 4, but got 9"),
        ({"speed": 0.1}, "speed", "decimal_below_min_value", "Expected a value >= 0.25"),
        ({"speed": "fast"}, "speed", "invalid_type", "expected a decimal"),
        ({"speed": True}, "speed", "invalid_type", "got a boolean"),
        ({"response_format": "ogg"}, "response_format", "invalid_value", "'mp3', 'opus', 'aac'"),
        ({"stream_format": "ndjson"}, "stream_format", "invalid_value", "'audio', 'sse'"),
        ({"instructions": 1}, "instructions", "invalid_type", "expected a string"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_openais_words(
    speaking: Speaking, asked: dict[str, Any], param: str, code: str, says: str
) -> None:
    error = speaking.refused(**asked)
    assert (error["param"], error["code"]) == (param, code)
    assert says in error["message"]
    assert speaking.magpie.texts == []


def test_an_unknown_model_is_told_which_there_are(speaking: Speaking) -> None:
    answer = speaking.post(model="tts-9")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert "'tts-1', 'tts-1-hd'" in error["message"]
    assert "'magpie'" in error["message"]


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ({"files": {"input": (None, "Hi.")}}, 415, "unsupported_content_type"),
        ({"data": {"input": "Hi."}}, 415, "unsupported_content_type"),
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "invalid_json"),
        (
            {"data": b"[" * 9999, "headers": {"Content-Type": "application/json"}},
            400,
            "invalid_json",
        ),
        ({"json": ["Hi."]}, 400, "invalid_json"),
        ({"json": {"input": "x" * 400_000}}, 413, "request_too_large"),
    ],
)
def test_what_is_no_json_object_is_refused(
    speaking: Speaking, how: dict[str, Any], status: int, code: str
) -> None:
    answer = requests.post(f"{speaking.gateway.url}/v1/audio/speech", timeout=30, **how)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit_is_refused_however_it_comes(
    speaking: Speaking, *, is_chunked: bool
) -> None:
    body = json.dumps({"voice": "alloy", "input": "x" * 400_000}).encode()
    url = f"{speaking.gateway.url}/v1/audio/speech"
    data: Any = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
    answer = requests.post(url, data if is_chunked else body, headers=JSON, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("name", ["input", "voice", "model", "response_format", "instructions"])
def test_half_a_character_is_refused(speaking: Speaking, name: str) -> None:
    error = speaking.refused(**{name: "a\ud83d"})  # json.dumps escapes it
    assert error["param"] == name
    assert speaking.refused(voice={"id": "\udc00"})["param"] == "voice.id"
    assert speaking.magpie.texts == []


# OpenAI's own client.


def test_openais_client_hears_the_beginning_before_the_end(
    speaking: Speaking, client: openai.OpenAI
) -> None:
    speaking.magpie.behave("one_by_one")
    speaking.magpie.steps.release()
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=TEN, response_format="pcm"
    ) as streamed:
        pieces = streamed.iter_bytes()
        assert next(pieces)  # of one text: the answer to another one would wait
        speaking.magpie.behave("ok")
        for _ in range(20):
            speaking.magpie.steps.release()
        assert len(b"".join(pieces)) > 24_000


def test_openais_client_raises_what_is_wrong(speaking: Speaking, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="Supported values are") as raised:
        client.audio.speech.create(model="tts-1", voice="bob", input=SENTENCE)
    assert (raised.value.param, raised.value.code) == ("voice", "invalid_value")
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.audio.speech.create(model="tts-9", voice="alloy", input=SENTENCE)
    speaking.magpie.behave("500")
    with pytest.raises(openai.InternalServerError) as failed:
        client.audio.speech.create(model="magpie", voice="alloy", input=SENTENCE)
    assert failed.value.status_code == 503

"""OpenAI's Python SDK, unchanged but for its base_url: every endpoint, every format.

What it does when services fail is in tests/api; here all is well, but for what clients do wrong.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from proxy_app.watch.clip import SPOKEN
from proxy_app.watch.words import likeness
from tests.clients.home import CLIENT_WITHIN_S, Home
from tests.clients.probed import FORMATS, probed
from tests.standins.upstream_llm import NAME
from tests.standins.upstream_speech import MIA

SENTENCE = "This is a sentence with some words in it."
HEARD = 0.8


def is_heard(text: str) -> bool:
    """Whether the clip's words were."""
    return likeness(SPOKEN, text) > HEARD


# Models.


def test_models_are_listed_and_each_can_be_retrieved(client: openai.OpenAI) -> None:
    ids = {model.id for model in client.models.list()}
    assert {"whisper-1", "gpt-4o-transcribe-diarize", "tts-1", NAME, "tiny.en", MIA} <= ids
    assert {client.models.retrieve(name).id for name in ids} == ids
    with pytest.raises(openai.NotFoundError, match=r"whisper-1.*") as raised:
        client.models.retrieve("whisper-9")
    assert raised.value.code == "model_not_found"


# Speech to text, by the embedded engine.


@pytest.mark.parametrize("model", ["gpt-4o-mini-transcribe", "gpt-transcribe"])
def test_the_other_models_transcribe_too(client: openai.OpenAI, clip: Path, model: str) -> None:
    made = client.audio.transcriptions.create(
        file=clip, model=model, language="en", prompt="A talk about the weather.", temperature=0
    )
    assert is_heard(made.text)
    assert made.usage
    assert made.usage.type == "duration"


def test_a_file_may_be_bytes_a_stream_or_a_tuple(client: openai.OpenAI, clip: Path) -> None:
    data = clip.read_bytes()
    named = io.BytesIO(data)
    named.name = "recording.wav"
    for file in (named, data, ("x.bin", data, "application/octet-stream")):
        assert is_heard(client.audio.transcriptions.create(file=file, model="whisper-1").text)


@pytest.mark.parametrize("name", ["text", "srt", "vtt"])
def test_text_and_subtitles_are_texts(client: openai.OpenAI, clip: Path, name: Any) -> None:  # noqa: ANN401
    made = client.audio.transcriptions.create(file=clip, model="whisper-1", response_format=name)
    assert isinstance(made, str)
    lines = [line for line in made.splitlines() if "-->" not in line and not line.isdecimal()]
    assert is_heard(" ".join(lines).removeprefix("WEBVTT"))
    assert ("-->" in made) == (name != "text")


def test_verbose_json_has_times_of_segments_and_words(client: openai.OpenAI, clip: Path) -> None:
    made = client.audio.transcriptions.create(
        file=clip, model="whisper-1", response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )  # fmt: skip
    assert made.language == "english"
    assert made.segments
    assert made.words
    assert is_heard(" ".join(segment.text for segment in made.segments))
    assert is_heard(" ".join(word.word for word in made.words))
    starts = [word.start for word in made.words]
    assert starts == sorted(starts)
    assert 0 <= starts[0] < made.words[-1].end <= made.duration
    assert made.duration == pytest.approx(probed(clip.read_bytes()).seconds, abs=0.01)


def test_diarized_json_says_who_speaks(client: openai.OpenAI, clip: Path) -> None:
    made = client.audio.transcriptions.create(
        file=clip, model="gpt-4o-transcribe-diarize", response_format="diarized_json",
        chunking_strategy="auto",
    )  # fmt: skip
    assert {segment.speaker for segment in made.segments} == {"A"}
    assert is_heard(" ".join(segment.text for segment in made.segments))


def test_a_stream_is_its_deltas_and_its_end(client: openai.OpenAI, clip: Path) -> None:
    events = list(
        client.audio.transcriptions.create(file=clip, model="gpt-4o-transcribe", stream=True)
    )
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    end = events[-1]
    assert end.type == "transcript.text.done"
    assert "".join(deltas) == end.text
    assert is_heard(end.text)


def test_a_stream_of_speakers_has_segments(client: openai.OpenAI, clip: Path) -> None:
    events = list(
        client.audio.transcriptions.create(
            file=clip, model="gpt-4o-transcribe-diarize", response_format="diarized_json",
            chunking_strategy={"type": "server_vad", "threshold": 0.5}, stream=True,
        )
    )  # fmt: skip
    said = [event for event in events if event.type == "transcript.text.segment"]
    assert is_heard(" ".join(event.text for event in said))
    assert {event.speaker for event in said} == {"A"}
    assert events[-1].type == "transcript.text.done"


def test_a_translation_by_a_model_of_english_alone_is_refused_with_those_that_can(
    client: openai.OpenAI, clip: Path
) -> None:
    """What translates is tested in tests/engine and tests/api, on stand-ins for its model."""
    with (
        pytest.deprecated_call(),  # by OpenAI, which gives it up
        pytest.raises(openai.BadRequestError, match="large-v3") as raised,
    ):
        client.audio.translations.create(file=clip, model="whisper-1")
    assert raised.value.code == "model_cannot_translate"


def test_an_answer_tells_its_request(client: openai.OpenAI, clip: Path) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(
        file=clip, model="whisper-1", extra_headers={"X-Client-Request-Id": "mine-1"}
    )
    assert raw.request_id == "mine-1"
    assert raw.headers["x-served-by"] == "whisperx"
    assert int(raw.headers["openai-processing-ms"]) > 0
    assert is_heard(raw.parse().text)


def test_the_asynchronous_client_does_the_same_side_by_side(at: Home, clip: Path) -> None:
    async def both() -> tuple[str, bytes, str | None]:
        async with openai.AsyncOpenAI(
            base_url=at.v1, api_key=at.key, max_retries=0, timeout=CLIENT_WITHIN_S
        ) as client:
            heard, said, answered = await asyncio.gather(
                client.audio.transcriptions.create(file=clip, model="whisper-1"),
                client.audio.speech.create(model="tts-1", voice="alloy", input=SENTENCE),
                client.chat.completions.create(
                    model=NAME, messages=[{"role": "user", "content": "again"}]
                ),
            )
            return heard.text, said.content, answered.choices[0].message.content

    heard, said, answered = asyncio.run(both())
    assert is_heard(heard)
    assert probed(said).codec == "mp3"
    assert answered == "again"


# Text to speech, by a stand-in for Magpie.


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_speech_is_a_file_of_it(client: openai.OpenAI, name: Any) -> None:  # noqa: ANN401
    answer = client.audio.speech.create(
        model="gpt-4o-mini-tts", voice="coral", input=SENTENCE, response_format=name,
        instructions="Speak slowly.", speed=1.25,
    )  # fmt: skip
    assert answer.response.headers["content-type"] == FORMATS[name].content_type
    FORMATS[name].check(answer.content, at_least_s=1.0)


def test_speech_streams_to_a_file_and_as_events(client: openai.OpenAI, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"model": "tts-1-hd", "voice": {"id": MIA}, "input": SENTENCE}
    with client.audio.speech.with_streaming_response.create(**asked) as streamed:
        streamed.stream_to_file(tmp_path / "speech.mp3")
    FORMATS["mp3"].check((tmp_path / "speech.mp3").read_bytes(), at_least_s=1.0)
    with client.audio.speech.with_streaming_response.create(
        **asked, stream_format="sse"
    ) as streamed:
        lines = [line for line in streamed.iter_lines() if line]
    assert "speech.audio.delta" in lines[0]
    assert "speech.audio.done" in lines[-1]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"input": ""}, "input", "empty_string"),
    ({"input": "x" * 5000}, "input", "string_above_max_length"),
    ({"speed": 9}, "speed", "decimal_above_max_value"),
    ({"speed": 0.1}, "speed", "decimal_below_min_value"),
    ({"voice": "bob"}, "voice", "invalid_value"),
    ({"response_format": "m4b"}, "response_format", "invalid_value"),
    ({"stream_format": "websocket"}, "stream_format", "invalid_value"),
]


@pytest.mark.parametrize(("asked", "param", "code"), REFUSED)
def test_what_cannot_be_said_is_the_sdks_own_error(
    client: openai.OpenAI, asked: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.audio.speech.create(**{"model": "tts-1", "voice": "alloy", "input": "x"} | asked)
    error = raised.value
    assert (error.type, error.param, error.code) == ("invalid_request_error", param, code)


# Language models, by a stand-in.


def test_the_client_chats_whole_and_as_it_comes(client: openai.OpenAI) -> None:
    asked: Any = {"model": NAME, "messages": [{"role": "user", "content": "one two three"}]}
    assert client.chat.completions.create(**asked).choices[0].message.content == "one two three"
    stream = client.chat.completions.create(**asked, stream=True)
    assert [chunk.choices[0].delta.content for chunk in stream] == ["one", " two", " three"]
    with client.chat.completions.stream(**asked) as events:
        assert events.get_final_completion().choices[0].message.content == "one two three"


def test_the_client_completes_embeds_and_responds(client: openai.OpenAI) -> None:
    assert client.completions.create(model=NAME, prompt="again").choices[0].text == "again"
    answer = client.embeddings.create(model=NAME, input=["ab", "abc"], encoding_format="float")
    assert [one.embedding[0] for one in answer.data] == [2.0, 3.0]
    assert client.responses.create(model=NAME, input="once more").output_text == "once more"
    events = list(client.responses.create(model=NAME, input="once more", stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["once", " more"]
    assert events[-1].type == "response.completed"


# What it does when it is told to come back.


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client waits, which it does not do."""
    waits: list[float] = []
    monkeypatch.setattr("openai._base_client.time.sleep", waits.append)
    return waits


@pytest.fixture
def patient(at: Home) -> Iterator[openai.OpenAI]:
    """As it is by default: two retries."""
    with openai.OpenAI(base_url=at.v1, api_key=at.key, timeout=CLIENT_WITHIN_S) as made:
        assert made.max_retries == 2
        yield made


def test_a_503_is_waited_out_for_as_long_as_it_says(
    at: Home, patient: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def mend(seconds: float) -> None:
        slept.append(seconds)
        at.llm.behave("ok")

    monkeypatch.setattr("openai._base_client.time.sleep", mend)
    at.llm.behave("500", {})
    answer = patient.embeddings.create(model=NAME, input="abc", encoding_format="float")
    assert answer.data[0].embedding[0] == 3.0
    (told,) = [it.answer_headers for it in at.wire.exchanges() if it.status == 503]
    # A second less in the header that this SDK prefers: older ones take less than 60 s alone.
    assert (told["Retry-After"], told["retry-after-ms"], slept) == ("60", "59000", [59.0])


def test_a_429_of_a_keys_limit_is_waited_out_for_as_long_as_it_says(
    at: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = at.command("control", "keys", "add", "impatient", "--per-minute", "1").strip()
    slept: list[float] = []
    monkeypatch.setattr("openai._base_client.time.sleep", slept.append)
    with openai.OpenAI(base_url=at.v1, api_key=key, max_retries=2) as client:
        assert client.embeddings.create(model=NAME, input="x")
        with pytest.raises(openai.RateLimitError) as raised:
            client.embeddings.create(model=NAME, input="x")
    assert raised.value.code == "rate_limit_exceeded"
    told = [int(it.answer_headers["Retry-After"]) for it in at.wire.exchanges() if it.status == 429]
    assert len(told) == 3
    assert slept == told[:2]
    assert len(at.llm.received) == 1


def test_what_a_retry_cannot_mend_is_not_tried_again(
    at: Home, patient: openai.OpenAI, slept: list[float]
) -> None:
    at.llm.behave("401", {})
    with pytest.raises(openai.InternalServerError) as raised:
        patient.embeddings.create(model=NAME, input="x")
    assert raised.value.status_code == 502
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert (len(at.llm.received), slept) == (1, [])


def test_a_wrong_key_is_an_authentication_error(at: Home) -> None:
    for key in ("sk-somebody-elses", f"{at.key}x"):
        with (
            openai.OpenAI(base_url=at.v1, api_key=key, max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.chat.completions.create(model=NAME, messages=[])
    assert at.llm.received == []

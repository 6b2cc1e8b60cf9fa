"""OpenAI's own Python client, its engine being a stand-in: tests/clients has a real one."""

import io
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.audio import TranscriptionStreamEvent

from tests.api.conftest import Gateway
from tests.api.recordings import canonical_wav
from tests.standins import upstream_whisperx as engine
from tests.standins.upstream_whisperx import StandIn


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{gateway.url}/v1", api_key="none", max_retries=0, timeout=20
    ) as made:
        yield made


def recording() -> io.BytesIO:
    file = io.BytesIO(canonical_wav(1))
    file.name = "a.wav"
    return file


def test_translations_are_read(client: openai.OpenAI) -> None:
    with pytest.deprecated_call():  # by OpenAI, which gives it up
        made = client.audio.translations.create(
            file=recording(), model="whisper-1", response_format="verbose_json", temperature=0.2
        )
    assert (made.language, made.text) == ("english", "Hello. Good morning, all.")
    assert made.segments
    assert made.segments[0].text == "Hello."


def stream(
    client: openai.OpenAI,
    **more: Any,  # noqa: ANN401 - the client's own arguments
) -> Iterator[TranscriptionStreamEvent]:
    made: Iterator[TranscriptionStreamEvent] = client.audio.transcriptions.create(
        file=recording(), stream=True, **({"model": "gpt-4o-transcribe"} | more)
    )
    return made


def test_segments_have_their_speakers(client: openai.OpenAI) -> None:
    events = list(
        stream(
            client,
            model="gpt-4o-transcribe-diarize",
            response_format="diarized_json",
            chunking_strategy="auto",
        )
    )
    said = [event for event in events if event.type == "transcript.text.segment"]
    assert [(event.id, event.speaker, event.start) for event in said] == [
        *(("seg_001", "A", 0.69), ("seg_002", "B", 1.5))
    ]


def test_a_stream_that_fails_raises_where_it_fails(client: openai.OpenAI, standin: StandIn) -> None:
    standin.behave("cut", engine.stream(speakers=False)[:2])
    events = stream(client)
    assert next(events).type == "transcript.text.delta"
    with pytest.raises(openai.APIError, match="broke off") as raised:
        next(events)
    assert raised.value.code == "upstream_unavailable"


def test_a_refusal_is_the_error_of_its_status(client: openai.OpenAI, standin: StandIn) -> None:
    standin.behave("429", {"error": {"message": "40 are waiting", "code": "busy"}})
    with pytest.raises(openai.RateLimitError, match="40 are waiting"):
        stream(client)
    with pytest.raises(openai.BadRequestError, match="cannot be streamed"):
        stream(client, response_format="srt")

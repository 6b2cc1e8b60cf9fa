"""The requests of Speakr's two connectors, as read in its source.

The one for OpenAI is the SDK with the fields below; the other one speaks to /asr of servers such as
whisper-asr-webservice, and sets no header: a key can only be in its address.
"""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import openai
import pytest
import requests

from proxy_app.watch.clip import SPOKEN
from proxy_app.watch.words import likeness
from tests.clients.home import CLIENT_WITHIN_S, Home
from tests.data import test_data

HEARD = 0.8
RATE = 16_000
HEADERS = {
    "HTTP-Referer": "https://github.com/murtaza-nasir/speakr",
    "X-Title": "Speakr - AI Audio Transcription",
}
ASR = {
    "encode": "true", "task": "transcribe", "output": "json", "language": "en", "diarize": "true",
    "enable_diarization": "true", "return_speaker_embeddings": "true", "min_speakers": "1",
    "max_speakers": "3", "initial_prompt": "A talk.", "hotwords": "weather, help",
}  # fmt: skip


@pytest.fixture
def speakr(at: Home) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=at.v1, api_key=at.key, default_headers=HEADERS, timeout=CLIENT_WITHIN_S
    ) as made:
        yield made


# The connector for OpenAI.


def test_it_offers_the_models_that_its_list_knows(speakr: openai.OpenAI) -> None:
    ids = [model.id for model in speakr.models.list().data]
    offered = {name for name in ids if "transcribe" in name.lower() or "whisper" in name.lower()}
    assert {"gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize"} <= offered


def test_it_reads_who_says_what(at: Home, speakr: openai.OpenAI, clip: Path) -> None:
    made = diarized(speakr, clip.read_bytes(), language="en")
    said = [segment for segment in made.segments if segment.text.strip()]
    assert likeness(SPOKEN, " ".join(segment.text for segment in said)) > HEARD
    assert {segment.speaker for segment in said} == {"A"}
    assert all(0 <= segment.start < segment.end for segment in said)
    (asked,) = at.wire.asked("/v1/audio/transcriptions")
    assert dict(asked.form()[0]) == {
        "model": "gpt-4o-transcribe-diarize", "language": "en", "chunking_strategy": "auto",
        "response_format": "diarized_json",
    }  # fmt: skip


def test_it_joins_a_prompt_and_hotwords(speakr: openai.OpenAI, clip: Path) -> None:
    made = speakr.audio.transcriptions.create(
        model="gpt-4o-mini-transcribe-2025-12-15", file=clip,
        prompt="A talk about the weather. Parakeet, Sortformer",
    )  # fmt: skip
    assert likeness(SPOKEN, made.text) > HEARD


def test_people_keep_their_letters_from_one_chunk_to_the_next(
    at: Home, speakr: openai.OpenAI
) -> None:
    """It cuts a long recording, and sends a stretch of each voice of the first chunk with the next.

    The chunks are made of two people's stretches from AMI's meetings: who speaks first in the one
    speaks last in the other.
    """
    one, other = samples("ami-trn03"), samples("ami-trn05")
    first = diarized(speakr, wav(one[stretch(2, 13)], other[stretch(19, 30)]))
    letters = by_length(first)
    assert set(letters) == {"A", "B"}
    references = {"A": one[stretch(3, 12)], "B": other[stretch(20, 29)]}
    known = {
        "known_speaker_names": list(references),
        "known_speaker_references": [data_url(wav(sound)) for sound in references.values()],
    }
    second_chunk = wav(other[stretch(9, 18)], one[stretch(15, 26)])
    second = diarized(speakr, second_chunk, extra_body=known)
    names = [segment.speaker for segment in second.segments]
    assert (names[0], names[-1]) == ("B", "A")
    assert set(by_length(second)) == {"A", "B"}
    asked = at.wire.asked("/v1/audio/transcriptions")[-1]
    assert asked.form()[0].getlist("known_speaker_names[]") == ["A", "B"]


def diarized(client: openai.OpenAI, file: bytes, **more: Any) -> Any:  # noqa: ANN401 - the SDK's
    named = io.BytesIO(file)
    named.name = "chunk_000.wav"
    return client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize", file=named, chunking_strategy="auto",
        response_format="diarized_json", **more,
    )  # fmt: skip


def by_length(made: Any) -> dict[str, float]:  # noqa: ANN401 - the SDK's
    """Seconds of each speaker; whoever has less than one is a stray word."""
    found: dict[str, float] = {}
    for segment in made.segments:
        found[segment.speaker] = found.get(segment.speaker, 0) + segment.end - segment.start
    return {speaker: seconds for speaker, seconds in found.items() if seconds >= 1}


def samples(name: str) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A clip of AMI, 16 kHz mono."""
    with av.open(str(test_data("audio") / f"{name}.flac")) as file:
        resampler = av.AudioResampler("s16", "mono", RATE)
        frames = [made for it in file.decode(audio=0) for made in resampler.resample(it)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def stretch(start_s: int, end_s: int) -> slice:
    return slice(start_s * RATE, end_s * RATE)


def wav(*sounds: np.ndarray[Any, np.dtype[np.int16]]) -> bytes:
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.concatenate(sounds).tobytes())
    return output.getvalue()


def data_url(file: bytes) -> str:
    return f"data:audio/wav;base64,{base64.b64encode(file).decode()}"


# The connector for /asr.


def test_its_other_connector_reads_text_segments_and_voices(at: Home, clip: Path) -> None:
    address = at.root.replace("http://", f"http://speakr:{at.key}@")
    files = {"audio_file": ("meeting.wav", clip.read_bytes(), "audio/wav")}
    answer = requests.post(f"{address}/asr", params=ASR, files=files, timeout=CLIENT_WITHIN_S)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert isinstance(body["text"], str)
    assert likeness(SPOKEN, body["text"]) > HEARD
    assert body["language"] == "en"
    assert body["segments"]
    for segment in body["segments"]:
        assert segment["text"].strip()
        assert 0 <= segment["start"] < segment["end"]
    speakers = {segment["speaker"] for segment in body["segments"]}
    assert set(body["speaker_embeddings"]) == speakers == {"SPEAKER_00"}
    assert len(body["speaker_embeddings"]["SPEAKER_00"]) > 100


def test_its_other_connector_needs_a_key_and_finds_the_models(at: Home, clip: Path) -> None:
    files = {"audio_file": ("meeting.wav", clip.read_bytes())}
    refused = requests.post(f"{at.root}/asr", params=ASR, files=files, timeout=CLIENT_WITHIN_S)
    assert refused.status_code == 401
    listed = requests.get(f"{at.root}/v1/models", timeout=10).json()["data"]  # which are open
    assert {"whisper-1", "tiny.en"} <= {model["id"] for model in listed}

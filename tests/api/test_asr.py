"""POST /asr, as Speakr's connector and other clients of whisper-asr-webservice send it."""

import json
import re
from typing import Any

import pytest
import requests

from tests.api.conftest import Gateway
from tests.api.recordings import canonical_wav
from tests.api.routed import LOADING, Routed
from tests.standins.upstream_whisperx import StandIn, conversation

SPEAKERS, ALONE = "/v1/audio/transcribe-with-speakers", "/v1/audio/transcriptions"
SPEAKR = {
    "encode": "true",
    "task": "transcribe",
    "output": "json",
    "language": "en",
    "diarize": "true",
    "enable_diarization": "true",
    "min_speakers": "1",
    "max_speakers": "4",
    "initial_prompt": "A call.",
    "hotwords": "GB10, Spark",
    "model": "large-v3",
}
"""Everything that the connector can put into its query, as httpx writes it."""


def ask(gateway: Gateway, form: dict[str, str] | None = None, /, **query: str) -> requests.Response:
    files = {"audio_file": ("call.m4a", canonical_wav(5), "audio/mp4")}
    url = gateway.url + "/asr"
    return requests.post(url, params=query, data=form, files=files, timeout=20)


def test_speakrs_request_is_answered_with_segments_and_speakers(
    gateway: Gateway, standin: StandIn
) -> None:
    response = ask(gateway, **SPEAKR)
    assert response.status_code == 200, response.text
    assert response.headers["x-served-by"] == "whisperx"
    assert response.json() == {
        "text": "Hello. Good morning, all.",
        "language": "en",
        "segments": [
            {"start": 0.69, "end": 1.12, "text": "Hello.", "speaker": "SPEAKER_00"},
            {"start": 1.5, "end": 2.9, "text": "Good morning, all.", "speaker": "SPEAKER_01"},
        ],
    }
    (received,) = standin.received
    fields, _wav = received.form()
    assert received.path == SPEAKERS
    assert (fields["min_speakers"], fields["max_speakers"]) == ("1", "4")
    assert (fields["language"], fields["prompt"]) == ("en", "A call.")
    assert fields.getlist("keywords[]") == ["GB10", "Spark"]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({}, ALONE),
        ({"diarize": "false", "enable_diarization": "False"}, ALONE),
        ({"diarize": "1"}, SPEAKERS),
        ({"enable_diarization": "True"}, SPEAKERS),
        ({"task": "translate"}, "/v1/audio/translations"),
        ({"task": "translate", "diarize": "true"}, "/v1/audio/translations"),
    ],
)
def test_the_query_says_what_is_done(
    gateway: Gateway, standin: StandIn, query: dict[str, str], path: str
) -> None:
    answer = ask(gateway, **query).json()
    assert [received.path for received in standin.received] == [path]
    assert all(("speaker" in segment) == (path == SPEAKERS) for segment in answer["segments"])


def test_options_may_be_in_the_form_and_the_query_counts_more(
    gateway: Gateway, standin: StandIn
) -> None:
    ask(gateway, {"diarize": "true", "language": "de", "num_speakers": "3"}, language="fr")
    (received,) = standin.received
    fields, _wav = received.form()
    assert received.path == SPEAKERS
    assert (fields["language"], fields["num_speakers"]) == ("fr", "3")


@pytest.mark.parametrize("diarize", ["true", "false"])
def test_words_come_with_their_times_where_they_are_asked_for(
    gateway: Gateway, diarize: str
) -> None:
    answer = ask(gateway, word_timestamps="true", diarize=diarize).json()
    first = {"word": "Hello.", "start": 0.69, "end": 1.12}
    first |= {"speaker": "SPEAKER_00"} if diarize == "true" else {}
    assert answer["segments"][0]["words"] == [first]
    assert [word["word"] for word in answer["word_segments"]] == [
        *("Hello.", "Good", "morning,", "all.")
    ]
    assert "words" not in ask(gateway, diarize=diarize).json()["segments"][0]


def test_the_speakers_voices_come_where_they_are_asked_for(
    gateway: Gateway, standin: StandIn
) -> None:
    told = {"speaker_embeddings": {"Speaker_0": [0.5, -0.25], "Speaker_1": [1, "x"]}}
    standin.behave("ok", conversation(words=False) | told | {"embedding_model": "a voice 1"})
    answer = ask(gateway, diarize="true", return_speaker_embeddings="true").json()
    assert answer["speaker_embeddings"] == {"SPEAKER_00": [0.5, -0.25]}
    assert answer["embedding_model"] == "a voice 1"
    asked = [b'name="speaker_embeddings"' in received.body for received in standin.received]
    standin.behave("ok")
    ask(gateway, diarize="true")
    ask(gateway, return_speaker_embeddings="true")
    asked += [b'name="speaker_embeddings"' in received.body for received in standin.received[1:]]
    assert asked == [True, False, False]


@pytest.mark.parametrize(
    ("output", "kind", "text"),
    [
        ("txt", "text/plain", "Hello.\nGood morning, all.\n"),
        (
            "tsv",
            "text/tab-separated-values",
            "start\tend\ttext\n690\t1120\tHello.\n1500\t2900\tGood morning, all.\n",
        ),
        ("srt", "application/x-subrip", "1\n00:00:00,690 --> 00:00:02,"),
        ("vtt", "text/vtt", "WEBVTT\n\n00:00:00.690 --> 00:00:02."),
    ],
)
def test_the_other_outputs_are_texts(gateway: Gateway, output: str, kind: str, text: str) -> None:
    response = ask(gateway, output=output)
    assert response.headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert response.text.startswith(text)


@pytest.mark.parametrize("output", ["json", "srt", "vtt"])
def test_speakers_have_the_same_names_in_every_output(gateway: Gateway, output: str) -> None:
    told = ask(gateway, output=output, diarize="true").text
    assert re.findall(r"SPEAKER_\d+", told) == ["SPEAKER_00", "SPEAKER_01"]
    assert "Speaker_" not in told


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"output": "docx"}, "output"),
        ({"task": "summarise"}, "task"),
        ({"diarize": "perhaps"}, "diarize"),
        ({"language": "klingon"}, "language"),
        ({"diarize": "true", "min_speakers": "4", "max_speakers": "2"}, "min_speakers"),
        ({"max_speakers": "many"}, "max_speakers"),
        ({"initial_prompt": "x" * 4000 + "y" * 6001}, "initial_prompt"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    gateway: Gateway, standin: StandIn, query: dict[str, str], param: str
) -> None:
    response = ask(gateway, query)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert standin.received == []


def test_what_other_servers_of_the_kind_know_is_passed_over(gateway: Gateway) -> None:
    assert ask(gateway, encode="perhaps", vad_filter="x", model="", anything="1").ok


def test_a_recording_under_another_name_is_refused_with_the_right_one(gateway: Gateway) -> None:
    files = {"file": ("a.wav", canonical_wav(1))}
    response = requests.post(f"{gateway.url}/asr", files=files, timeout=20)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (
        *(400, "missing_file", "audio_file"),
    )
    assert "`audio_file`" in error["message"]


@pytest.mark.parametrize("accept", ["*/*", "text/html,*/*"])
def test_errors_are_json_whatever_is_accepted(gateway: Gateway, accept: str) -> None:
    for answer in (
        requests.post(f"{gateway.url}/asr", headers={"Accept": accept}, timeout=20),
        requests.get(f"{gateway.url}/asr", headers={"Accept": accept}, timeout=20),
    ):
        assert answer.status_code in (405, 415)
        assert sorted(answer.json()["error"]) == ["code", "message", "param", "type"]


def test_silence_is_an_empty_text_and_not_an_error(gateway: Gateway, standin: StandIn) -> None:
    nothing: dict[str, Any] = {"duration": 5.0, "language": None, "speakers_detected": 0}
    standin.behave("ok", nothing | {"segments": [], "models": {}})
    answer = ask(gateway, diarize="true").json()
    assert answer == {"text": "", "language": None, "segments": []}


def test_parakeet_and_sortformer_answer_where_whisperx_is_not_ready(routed: Routed) -> None:
    routed.whisperx.health = LOADING
    response = ask(routed.gateway, **SPEAKR)
    assert response.headers["x-served-by"] == "parakeet+sortformer"
    assert response.json()["segments"][0]["speaker"] == "SPEAKER_00"
    assert json.loads(response.text)["text"]

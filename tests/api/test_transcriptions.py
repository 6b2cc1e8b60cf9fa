"""POST /v1/audio/transcriptions, as OpenAI's clients send it."""

import base64
from typing import Any

import pytest
import requests
from requests_toolbelt import MultipartEncoder

from tests.api.conftest import Gateway
from tests.api.openai_document import problems
from tests.api.recordings import canonical_wav, encoded
from tests.standins.upstream_whisperx import StandIn

URL = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"
TEXT = "Hello. Good morning, all."


def test_json_is_the_default(gateway: Gateway, schema: dict[str, Any]) -> None:
    response = gateway.transcribe(model="whisper-1")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["x-served-by"] == "whisperx"
    assert response.json()["text"] == TEXT
    assert not list(problems(schema, "CreateTranscriptionResponseJson", response.json()))


def test_text_is_the_bare_text(gateway: Gateway) -> None:
    response = gateway.transcribe(model="whisper-1", response_format="text")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.text.strip() == TEXT


def test_verbose_json_has_segments_and_the_true_length(
    gateway: Gateway, schema: dict[str, Any]
) -> None:
    answer = gateway.transcribe(model="whisper-1", response_format="verbose_json").json()
    assert not list(problems(schema, "CreateTranscriptionResponseVerboseJson", answer))
    assert float(answer["duration"]) == 5.0, "the stand-in's claim of 999 s was believed"
    assert [segment["text"] for segment in answer["segments"]] == ["Hello.", "Good morning, all."]
    assert answer["language"] == "english"
    assert "words" not in answer


@pytest.mark.parametrize("name", ["timestamp_granularities[]", "timestamp_granularities"])
def test_words_come_with_and_without_brackets(gateway: Gateway, name: str) -> None:
    fields = {"response_format": "verbose_json", name: "word"}
    words = gateway.transcribe(**fields).json()["words"]
    assert words[0] == {"word": "Hello.", "start": 0.69, "end": 1.12}


def test_diarized_json_has_speakers(gateway: Gateway, schema: dict[str, Any]) -> None:
    answer = gateway.transcribe(model="whisper-1", response_format="diarized_json").json()
    assert not list(problems(schema, "CreateTranscriptionResponseDiarizedJson", answer))
    assert [segment["speaker"] for segment in answer["segments"]] == ["A", "B"]
    assert float(answer["duration"]) == 5.0


def test_rttm_has_a_line_for_each_segment(gateway: Gateway) -> None:
    response = gateway.transcribe(response_format="rttm")
    lines = response.text.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("SPEAKER ") for line in lines)


@pytest.mark.parametrize(("format_", "mark"), [("srt", "00:00:00,690 --> "), ("vtt", "WEBVTT")])
def test_subtitles_name_nobody_unless_asked(gateway: Gateway, format_: str, mark: str) -> None:
    plain = gateway.transcribe(model="whisper-1", response_format=format_).text
    voices = gateway.transcribe(model="gpt-4o-transcribe-diarize", response_format=format_).text
    assert mark in plain
    assert mark in voices
    assert "Speaker" not in plain
    assert "Speaker" in voices


def test_the_model_diarize_asks_the_speakers_path(gateway: Gateway, standin: StandIn) -> None:
    gateway.transcribe(model="gpt-4o-transcribe-diarize", chunking_strategy="auto")
    gateway.transcribe(model="gpt-4o-transcribe")
    assert [received.path for received in standin.received] == [
        "/v1/audio/transcribe-with-speakers",
        URL,
    ]


@pytest.mark.parametrize(
    "model",
    ["", "whisper-1", "gpt-transcribe", "gpt-4o-mini-transcribe-2025-12-15", "large-v3", "turbo",
     "distil-large-v3", "my/own:whisper", "Systran/faster-whisper-small.en"],
)  # fmt: skip
def test_names_that_clients_may_have_built_in_are_taken_whatever_runs(
    gateway: Gateway, model: str
) -> None:
    assert gateway.transcribe(model=model).status_code == 200


@pytest.mark.parametrize("model", ["my/own:model", "gpt-4o", "tts-1", "x" * 500])
def test_a_name_of_no_recogniser_is_404(gateway: Gateway, model: str) -> None:
    response = gateway.transcribe(model=model)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "model_not_found")
    assert len(error["message"]) < 500


@pytest.mark.parametrize("order", [("file", "model"), ("model", "file")])
def test_the_file_may_come_before_or_after_the_other_fields(
    gateway: Gateway, order: tuple[str, str]
) -> None:
    values = {"model": "diarize", "file": ("blob", canonical_wav(1), "application/octet-stream")}
    body = MultipartEncoder([(name, values[name]) for name in order])
    headers = {"Content-Type": body.content_type}
    response = requests.post(gateway.url + URL, data=body, headers=headers, timeout=20)
    assert response.json()["text"]


def test_the_engine_gets_our_wav_whatever_was_sent(gateway: Gateway, standin: StandIn) -> None:
    assert gateway.transcribe(encoded("libmp3lame", "mp3")).status_code == 200
    fields, wav = standin.received[0].form()
    assert wav[:4] + wav[8:16] == b"RIFFWAVEfmt "
    assert wav[20:36] == canonical_wav(1)[20:36]
    assert fields["response_format"] == "verbose_json"


def test_language_and_prompt_reach_the_engine(gateway: Gateway, standin: StandIn) -> None:
    gateway.transcribe(language="de-DE", prompt="Straße, Hütte; 北京")
    fields, _wav = standin.received[0].form()
    assert (fields["language"], fields["prompt"]) == ("de", "Straße, Hütte; 北京")


@pytest.mark.parametrize("said", ["en-US", "en_US", "EN", "English", " english "])
def test_a_language_is_a_code_for_the_engine_however_it_was_said(
    gateway: Gateway, standin: StandIn, said: str
) -> None:
    assert gateway.transcribe(language=said).status_code == 200
    fields, _wav = standin.received[0].form()
    assert fields["language"] == "en"


@pytest.mark.parametrize("path", [URL, TRANSLATIONS, "/api/audio/transcribe-with-speakers"])
def test_what_is_known_of_a_recording_reaches_the_engine(
    gateway: Gateway, standin: StandIn, path: str
) -> None:
    known = {"keywords[]": "Spark", "hotwords": "GB10, sm_121", "languages": "de, English"}
    assert gateway.transcribe(None, path, temperature="0.4", **known).status_code == 200
    assert standin.received[0].path == path.replace("/api/", "/v1/")
    fields, _wav = standin.received[0].form()
    assert fields.getlist("keywords[]") == ["Spark", "GB10", "sm_121"]
    assert fields.getlist("languages[]") == ["de", "en"]
    assert fields["temperature"] == "0.4"


@pytest.mark.parametrize("format_", ["json", "text", "verbose_json", "srt", "vtt"])
def test_a_translation_has_openais_formats(
    gateway: Gateway, schema: dict[str, Any], format_: str
) -> None:
    response = gateway.transcribe(None, TRANSLATIONS, model="whisper-1", response_format=format_)
    assert response.status_code == 200
    assert response.headers["x-served-by"] == "whisperx"
    assert "Good morning, all." in response.text
    if format_ == "json":
        assert not list(problems(schema, "CreateTranslationResponseJson", response.json()))
    if format_ == "verbose_json":
        answer = response.json()
        assert not list(problems(schema, "CreateTranslationResponseVerboseJson", answer))
        assert (answer["task"], answer["language"]) == ("translate", "english")


@pytest.mark.parametrize("format_", ["diarized_json", "rttm", "docx"])
def test_a_translation_has_no_speakers(gateway: Gateway, format_: str) -> None:
    response = gateway.transcribe(None, TRANSLATIONS, response_format=format_)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "response_format")
    listed = "'json', 'text', 'verbose_json', 'srt', 'vtt'"
    assert error["message"] == f"Invalid value: '{format_}'. Supported values are: {listed}."


def test_a_model_that_cannot_translate_is_refused_in_the_engines_words(
    gateway: Gateway, standin: StandIn
) -> None:
    error = {
        "message": "The model tiny.en cannot translate; tiny, base can.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_cannot_translate",
    }
    standin.behave("400", {"error": error})
    response = gateway.transcribe(None, TRANSLATIONS)
    assert (response.status_code, response.json()) == (400, {"error": error})


def test_an_empty_language_is_none(gateway: Gateway, standin: StandIn) -> None:
    gateway.transcribe(language="", prompt="")
    fields, _wav = standin.received[0].form()
    assert "language" not in fields


def test_silence_is_an_empty_text(gateway: Gateway, standin: StandIn) -> None:
    nothing = {"task": "transcribe", "language": "english", "duration": 5.0, "text": ""}
    standin.behave("ok", nothing | {"segments": [], "words": []})
    response = gateway.transcribe()
    assert response.status_code == 200
    assert response.json()["text"] == ""


def test_unknown_fields_are_passed_over(gateway: Gateway) -> None:
    fields = {"temperature": "0", "vad_filter": "perhaps", "user": "me", "x": "y"}
    assert gateway.transcribe(**fields).status_code == 200


def test_an_unknown_format_is_refused_with_the_known_ones(gateway: Gateway) -> None:
    response = gateway.transcribe(response_format="docx")
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "response_format")
    for name in ("json", "text", "verbose_json", "diarized_json", "rttm", "srt", "vtt"):
        assert name in error["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timestamp_granularities[]", "phoneme"),
        ("language", "klingon"),
        ("language", "x" * 300),
        ("prompt", "x" * 10_001),
        ("languages[]", "de,klingon"),
        ("keywords[]", "x" * 101),
        ("keywords", ",".join("x" * 101)),
        ("temperature", "warm"),
        ("temperature", "1.1"),
        ("temperature", "nan"),
        ("num_speakers", "two"),
        ("num_speakers", "0"),
        ("max_speakers", "51"),
        ("min_speakers", "-1"),
        ("min_speakers", "9" * 5000),
        ("min_speakers", "²"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(gateway: Gateway, field: str, value: str) -> None:
    response = gateway.transcribe(**{field: value})
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["param"] == field.removesuffix("[]")
    assert len(error["message"]) < 300


@pytest.mark.parametrize(
    ("field", "value", "code", "says"),
    [
        (
            *("response_format", "docx", "invalid_value"),
            "Invalid value: 'docx'. Supported values are: 'json', 'text', 'verbose_json', ",
        ),
        (
            *("temperature", "9", "decimal_above_max_value"),
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 1, but got 9",
        ),
        (
            *("temperature", "-0.5", "decimal_below_min_value"),
            "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got -0",
        ),
        (
            *("temperature", "warm", "invalid_type"),
            "Invalid type for 'temperature': expected a decimal, but got a string instead.",
        ),
        (
            *("temperature", "nan", "invalid_type"),
            "Invalid type for 'temperature': expected a decimal, but got a string instead.",
        ),
        ("language", "klingon", "invalid_value", "Invalid value: 'klingon'. Send a code (en)"),
        (
            *("prompt", "x" * 10_001, "string_above_max_length"),
            "Invalid 'prompt': string too long. Expected a string with maximum length 10000",
        ),
    ],
)
def test_what_is_wrong_is_said_in_openais_words(
    gateway: Gateway, field: str, value: str, code: str, says: str
) -> None:
    for path in ("/v1/audio/transcriptions", TRANSLATIONS):
        error = gateway.transcribe(None, path, **{field: value}).json()["error"]
        assert error["message"].startswith(says)
        named = (error["type"], error["param"], error["code"])
        assert named == ("invalid_request_error", field, code)


@pytest.mark.parametrize(
    ("field", "value", "code", "says"),
    [
        (
            *("stream", "perhaps", "invalid_type"),
            "Invalid type for 'stream': expected a boolean, but got a string instead.",
        ),
        (
            *("timestamp_granularities", "phoneme", "invalid_value"),
            "Invalid value: 'phoneme'. Supported values are: 'segment', 'word'.",
        ),
        (
            *("include[]", "tokens\n", "invalid_value"),
            "Invalid value: 'tokens'. Supported values are: 'logprobs'.",
        ),
    ],
)
def test_what_is_wrong_with_a_transcription_is_said_in_openais_words(
    gateway: Gateway, field: str, value: str, code: str, says: str
) -> None:
    error = gateway.transcribe(**{field: value}).json()["error"]
    assert error["message"] == says
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", field, code)


@pytest.mark.parametrize(
    ("value", "got"), [(True, "a boolean"), ("warm", "a string"), ({"a": 1}, "an object")]
)
def test_a_wrong_type_in_json_is_called_what_it_is(
    gateway: Gateway, value: object, got: str
) -> None:
    sound = base64.b64encode(canonical_wav(1)).decode()
    body = {"input_audio": {"data": sound}, "temperature": value}
    answer = requests.post(f"{gateway.url}/v1/audio/transcriptions", json=body, timeout=20)
    assert f"expected a decimal, but got {got} instead" in answer.json()["error"]["message"]


def test_errors_have_openais_four_keys(gateway: Gateway, schema: dict[str, Any]) -> None:
    answer = gateway.transcribe(response_format="docx").json()
    assert list(answer) == ["error"]
    assert sorted(answer["error"]) == ["code", "message", "param", "type"]
    assert not list(problems(schema, "ErrorResponse", answer))

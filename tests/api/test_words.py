"""Transcriptions without speakers: by Parakeet alone, or by WhisperX, by model and by need."""

from typing import Any

import pytest
import requests

from tests.api.openai_document import problems
from tests.api.routed import AUDIO, DURATION_S, PATH, WORDS, Routed
from tests.api.test_streams import objects
from tests.standins.blips import dialogue, recording
from tests.standins.upstream_whisperx import transcription

TEXT = " ".join(word.text for word in WORDS)
TRANSLATIONS = "/v1/audio/translations"
BY_PARAKEET, BY_WHISPERX = [0, 1, 0], [1, 0, 0]
LAST = WORDS[-1]
UNTIMED: dict[str, Any] = {
    "text": TEXT,
    "duration": None,
    "segments": [{"id": 0, "start": 0.0, "end": 0.0, "text": TEXT}],
}
OF_SEGMENTS = UNTIMED | {
    "segments": [{"id": 0, "start": WORDS[0].start, "end": LAST.end, "text": TEXT}]
}


def test_parakeet_alone_is_the_first_choice(routed: Routed) -> None:
    response = routed.gateway.transcribe(AUDIO)
    assert (response.status_code, response.headers["x-served-by"]) == (200, "parakeet")
    assert response.json()["text"] == TEXT
    assert routed.uploads() == BY_PARAKEET


@pytest.mark.parametrize("behaviour", ["500", "reset", "half", "404"])
def test_where_it_fails_whisperx_answers(routed: Routed, behaviour: str) -> None:
    routed.parakeet.behave(behaviour, {})
    response = routed.gateway.transcribe(AUDIO)
    assert (response.status_code, response.headers["x-served-by"]) == (200, "whisperx")
    assert routed.uploads() == [1, 1, 0]


def test_it_has_times_of_words_and_segments(routed: Routed, schema: dict[str, Any]) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities": "word,segment"}
    answer = routed.gateway.transcribe(AUDIO, **fields).json()
    name = "CreateTranscriptionResponseVerboseJson"
    assert list(problems(schema, name, answer)) == []
    assert (answer["language"], answer["duration"]) == ("english", DURATION_S)
    words = [(word["word"], word["start"], word["end"]) for word in answer["words"]]
    assert words == [(word.text, word.start, word.end) for word in WORDS]
    (segment,) = answer["segments"]
    assert (segment["start"], segment["end"]) == (WORDS[0].start, LAST.end)
    subtitles = routed.gateway.transcribe(AUDIO, response_format="srt").text
    assert subtitles.startswith("1\n00:00:00,100 --> ")
    assert routed.uploads() == [0, 2, 0]


def test_a_long_recording_is_cut_for_it_and_no_word_is_lost_doubled_or_moved(
    routed: Routed,
) -> None:
    words = dialogue(90, every_s=0.6)
    routed.register("parakeet", max_audio_s=10)
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    answer = routed.gateway.transcribe(recording(words, 55.0), **fields).json()
    found = [(word["word"], word["start"], word["end"]) for word in answer["words"]]
    assert found == [(word.text, word.start, word.end) for word in words]
    assert len(routed.parakeet.received) >= 6


def test_a_stream_of_it_brings_the_text_piece_by_piece(routed: Routed) -> None:
    words = dialogue(40, every_s=0.6)
    routed.register("parakeet", max_audio_s=10)
    response = routed.gateway.transcribe(recording(words, 25.0), stream="true")
    assert response.headers["x-served-by"] == "parakeet"
    *deltas, done, end = objects(response.iter_lines())
    assert (end, done["text"]) == ("[DONE]", " ".join(word.text for word in words))
    assert len(deltas) == len(routed.parakeet.received) >= 3
    assert "".join(event["delta"] for event in deltas) == done["text"]


def test_a_stream_of_it_that_has_told_text_ends_with_an_error_and_nobody_takes_over(
    routed: Routed,
) -> None:
    routed.register("parakeet", max_audio_s=10)
    routed.parakeet.behave("one_by_one")
    routed.parakeet.steps.release()
    words = dialogue(40, every_s=0.6)
    response = routed.gateway.follow("/v1/audio/transcriptions", recording(words, 25.0))
    with response:
        sent = objects(response.iter_lines())
        assert next(sent)["delta"].startswith("w0 ")
        routed.parakeet.behave("500", {})
        routed.parakeet.steps.release()
        rest = list(sent)
    assert rest[-1]["error"]["code"] == "upstream_unavailable"
    assert routed.whisperx.received == []


@pytest.mark.parametrize(
    "fields",
    [{"prompt": "Names"}, {"keywords[]": "GB10"}, {"languages[]": "de"}, {"temperature": "0.5"},
     {"language": "zh"}],
)  # fmt: skip
def test_what_only_whisperx_can_do_it_gets(routed: Routed, fields: dict[str, str]) -> None:
    assert routed.gateway.transcribe(AUDIO, **fields).headers["x-served-by"] == "whisperx"
    assert routed.uploads() == BY_WHISPERX


@pytest.mark.parametrize("fields", [{"prompt": ""}, {"temperature": "0"}, {"language": "de-DE"}])
def test_what_asks_for_nothing_special_goes_to_parakeet(
    routed: Routed, fields: dict[str, str]
) -> None:
    assert routed.gateway.transcribe(AUDIO, **fields).headers["x-served-by"] == "parakeet"


def test_without_whisperx_a_hint_has_no_effect_and_the_answer_says_so(routed: Routed) -> None:
    routed.whisperx.behave("503", {})
    response = routed.gateway.transcribe(AUDIO, prompt="Names", temperature="0.5")
    assert (response.json()["text"], response.headers["x-served-by"]) == (TEXT, "parakeet")
    warnings = response.headers["x-speech-warnings"]
    assert warnings == (
        "`prompt` had no effect: parakeet has nothing like it. "
        "`temperature` had no effect: parakeet has nothing like it."
    )
    assert "x-speech-warnings" not in routed.gateway.transcribe(AUDIO).headers


def test_without_whisperx_there_is_no_translation(routed: Routed) -> None:
    routed.unregister("whisperx")
    response = routed.gateway.transcribe(AUDIO, TRANSLATIONS)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_service")
    assert routed.uploads() == [0, 0, 0]


@pytest.mark.parametrize(
    ("path", "name", "fields"),
    [
        ("/v1/audio/transcriptions", "file", {}),
        (TRANSLATIONS, "file", {}),
        ("/asr", "audio_file", {"task": "translate"}),
    ],
)
def test_what_whisperx_could_not_do_every_answer_says(
    routed: Routed, path: str, name: str, fields: dict[str, str]
) -> None:
    said = ["The times of words are guessed.", "Für „de“ nothing aligns."]
    routed.unregister("parakeet")
    routed.whisperx.behave("ok", transcription() | {"warnings": said})
    response = requests.post(
        routed.gateway.url + path, data=fields, files={name: AUDIO}, timeout=20
    )
    assert response.headers["x-served-by"] == "whisperx"
    told = "The times of words are guessed. F?r ?de? nothing aligns."
    assert response.headers["x-speech-warnings"] == told


def test_a_language_that_parakeet_refuses_whisperx_hears(routed: Routed) -> None:
    error = {"message": "Only English.", "param": "language", "code": "unsupported_language"}
    routed.parakeet.behave("400", {"error": error})
    response = routed.gateway.transcribe(AUDIO, language="de")
    assert response.headers["x-served-by"] == "whisperx"
    routed.unregister("whisperx")
    response = routed.gateway.transcribe(AUDIO, language="de")
    assert (response.status_code, response.json()["error"]["code"]) == (400, error["code"])


@pytest.mark.parametrize(
    ("model", "by"),
    [
        ("whisper-1", "parakeet"),
        ("", "parakeet"),
        ("gpt-4o-transcribe-2025-03-20", "parakeet"),
        ("whisper-large-v3", "parakeet"),
        ("tiny.en", "whisperx"),
        ("Systran/faster-whisper-tiny.en", "whisperx"),
        ("whisperx", "whisperx"),
        ("nvidia/parakeet-tdt-0.6b-v3", "parakeet"),
        ("PARAKEET-TDT-0.6b-v3", "parakeet"),
    ],
)
def test_a_service_whose_model_is_named_goes_first(routed: Routed, model: str, by: str) -> None:
    routed.register("parakeet", model="parakeet-tdt-0.6b-v3")
    assert routed.gateway.transcribe(AUDIO, model=model).headers["x-served-by"] == by


def test_a_named_model_goes_before_a_hint(routed: Routed) -> None:
    response = routed.gateway.transcribe(AUDIO, model="parakeet", prompt="Names")
    assert response.headers["x-served-by"] == "parakeet"
    assert "`prompt` had no effect" in response.headers["x-speech-warnings"]


def test_a_named_model_that_fails_is_replaced(routed: Routed) -> None:
    routed.whisperx.behave("500", {})
    response = routed.gateway.transcribe(AUDIO, model="tiny.en")
    assert (response.status_code, response.headers["x-served-by"]) == (200, "parakeet")


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", TRANSLATIONS])
@pytest.mark.parametrize("stream", ["false", "true"])
def test_an_unknown_model_is_404_with_those_that_there_are(
    routed: Routed, path: str, stream: str, schema: dict[str, Any]
) -> None:
    response = routed.gateway.transcribe(AUDIO, path, model="gpt-5", stream=stream)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (
        404, "model_not_found", "model",
    )  # fmt: skip
    assert list(problems(schema, "ErrorResponse", response.json())) == []
    for name in ("gpt-5", "whisper-1", "gpt-4o-transcribe-diarize", "stand-in parakeet", "tiny.en"):
        assert f"'{name}'" in error["message"]
    assert routed.uploads() == [0, 0, 0]


TIMED = [
    {"response_format": "srt"},
    {"response_format": "vtt"},
    {"response_format": "verbose_json"},
    {"response_format": "verbose_json", "timestamp_granularities[]": "word"},
]


@pytest.mark.parametrize("fields", TIMED)
def test_times_that_are_none_are_not_passed_on_where_whisperx_has_true_ones(
    routed: Routed, fields: dict[str, str]
) -> None:
    routed.parakeet.behave("ok", UNTIMED)
    for _ in range(4):
        response = routed.gateway.transcribe(AUDIO, **fields)
        assert (response.status_code, response.headers["x-served-by"]) == (200, "whisperx")
    # Each of two workers finds out once.
    assert 1 <= len(routed.parakeet.received) <= 2


@pytest.mark.parametrize("fields", TIMED)
@pytest.mark.parametrize("answer", [UNTIMED, {"text": TEXT}, {"text": TEXT, "words": [
    {"word": word.text, "start": 0, "end": 0} for word in WORDS
]}])  # fmt: skip
def test_without_whisperx_an_error_says_that_there_are_no_times(
    routed: Routed, fields: dict[str, str], answer: dict[str, Any]
) -> None:
    routed.unregister("whisperx")
    routed.parakeet.behave("ok", answer)
    response = routed.gateway.transcribe(AUDIO, **fields)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "no_timestamps")
    is_of_words = "timestamp_granularities[]" in fields
    assert error["param"] == ("timestamp_granularities" if is_of_words else "response_format")
    assert "parakeet does not tell when" in error["message"]


def test_json_and_text_need_no_times(routed: Routed) -> None:
    routed.unregister("whisperx")
    routed.parakeet.behave("ok", UNTIMED)
    assert routed.gateway.transcribe(AUDIO).json()["text"] == TEXT
    assert routed.gateway.transcribe(AUDIO, response_format="text").text == f"{TEXT}\n"
    stream = routed.gateway.transcribe(AUDIO, stream="true")
    assert list(objects(stream.iter_lines()))[-2]["text"] == TEXT


def test_times_of_segments_will_do_for_all_but_words(routed: Routed) -> None:
    routed.unregister("whisperx")
    routed.parakeet.behave("ok", OF_SEGMENTS)
    for fields in TIMED[:-1]:
        assert routed.gateway.transcribe(AUDIO, **fields).status_code == 200
    response = routed.gateway.transcribe(AUDIO, **TIMED[-1])
    assert (response.status_code, response.json()["error"]["code"]) == (400, "no_timestamps")


def test_where_whisperx_may_have_the_times_in_a_minute_that_is_said(routed: Routed) -> None:
    routed.parakeet.behave("ok", UNTIMED)
    routed.whisperx.behave("503", {})
    response = routed.gateway.transcribe(AUDIO, response_format="srt")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "60")


def test_silence_has_no_times_and_needs_none(routed: Routed) -> None:
    routed.unregister("whisperx")
    response = routed.gateway.transcribe(recording([], 2), response_format="verbose_json")
    assert (response.status_code, response.json()["segments"]) == (200, [])


def test_nobody_is_told_who_speaks_by_times_that_are_none(routed: Routed) -> None:
    routed.parakeet.behave("ok", UNTIMED)
    routed.unregister("whisperx")
    response = routed.gateway.transcribe(AUDIO, PATH)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (502, "upstream_misconfigured")
    assert "parakeet does not tell when" in error["message"]


def test_a_recording_that_parakeet_twice_fails_on_is_to_blame(routed: Routed) -> None:
    routed.unregister("whisperx")
    assert routed.gateway.transcribe(AUDIO).ok
    bad = recording(WORDS[:3], 3)
    routed.parakeet.behave("500", {})
    assert routed.gateway.transcribe(bad).status_code == 503
    routed.parakeet.behave("ok")
    assert routed.gateway.transcribe(AUDIO).ok
    routed.parakeet.behave("500", {})
    response = routed.gateway.transcribe(bad)
    assert (response.status_code, response.json()["error"]["code"]) == (
        422, "upstream_rejected_audio",
    )  # fmt: skip


def test_a_client_that_hangs_up_ends_its_work(routed: Routed) -> None:
    routed.parakeet.behave("hang")
    boundary = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = boundary + AUDIO + b"\r\n--b--\r\n"
    head = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {len(body)}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    with routed.gateway.connect() as client:
        client.sendall(head.encode() + body)
        assert routed.parakeet.started.wait(10)
    assert routed.parakeet.hung_up.wait(10)
    assert routed.whisperx.received == []

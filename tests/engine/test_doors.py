"""What is refused at the door: keys, addresses, forms, fields, sizes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask

from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.transcription import Listening
from proxy_app.api.fields import options
from proxy_app.api.uploads import SpoolingRequest
from proxy_app.errors import BadRequestError
from proxy_app.upstreams import Options, Vad
from proxy_app.upstreams.whisperx import _task
from tests.engine.in_process import SPEAKERS, TRANSCRIPTIONS, client, upload
from tests.engine.made_audio import silence
from tests.standins.engine_models import StandInDiarizer, StandInTranscriber, make_engine

SETTINGS = EngineSettings(device="cpu")
FORM = {"Content-Type": "multipart/form-data; boundary=B"}


def ask(
    folder: Path,
    *,
    path: str = SPEAKERS,
    settings: EngineSettings = SETTINGS,
    transcriber: StandInTranscriber | None = None,
    diarizer: StandInDiarizer | None = None,
    **request: Any,  # noqa: ANN401 - what httpx takes
) -> httpx.Response:
    """One request to an app around stand-ins; the spool must be empty afterwards."""
    request.setdefault("method", "POST")

    async def send() -> httpx.Response:
        engine = make_engine(settings, transcriber, diarizer)
        async with client(engine, folder) as http:
            return await http.request(url=path, **request)

    response = asyncio.run(send())
    assert not list(folder.iterdir())
    return response


def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_every_word_gets_the_speaker_of_its_turn(tmp_path: Path) -> None:
    body = ask(tmp_path, files=upload(silence(1)), data={"words": "true"}).json()
    assert body["speakers_detected"] == 2
    assert [(one["speaker"], one["text"]) for one in body["segments"]] == [
        ("Speaker_0", "Good morning."),
        ("Speaker_1", "Hello."),
    ]
    assert [word["word"] for word in body["segments"][0]["words"]] == ["Good", "morning."]
    assert body["models"] == {
        "transcription": "faster-whisper stand-in",
        "alignment": "none",
        "diarization": "stand-in",
    }
    assert "warnings" not in body


def test_language_prompt_and_temperature_reach_the_model(tmp_path: Path) -> None:
    transcriber = StandInTranscriber(languages=("en", "de"))
    fields = {"language": "German", "prompt": "Spark", "temperature": "0.4"}
    answer = ask(
        tmp_path,
        path=TRANSCRIPTIONS,
        transcriber=transcriber,
        files=upload(silence(1)),
        data=fields | {"response_format": "verbose_json"},
    )
    assert answer.json()["language"] == "german"
    wish = transcriber.wishes[0]
    assert (wish.language, wish.prompt, wish.temperature) == ("de", "Spark", 0.4)


@pytest.mark.parametrize(
    ("field", "listed"),
    [
        ("timestamp_granularities[]", True),
        ("timestamp_granularities", True),
        ("other", False),
    ],
)
def test_words_are_listed_where_they_are_asked_for(
    tmp_path: Path, field: str, listed: bool
) -> None:
    fields = {"response_format": "verbose_json", field: "word"}
    body = ask(tmp_path, path=TRANSCRIPTIONS, files=upload(silence(1)), data=fields).json()
    assert body["segments"]
    assert ("words" in body) == listed


@pytest.mark.parametrize("path", [SPEAKERS, TRANSCRIPTIONS])
def test_what_the_gateway_says_of_speech_reaches_the_model(tmp_path: Path, path: str) -> None:
    said = Vad(threshold=0.6, prefix_padding_s=1.5, silence_s=0.7)
    speakers = path == SPEAKERS
    task = _task(Options(chunking_strategy=said, logprobs=not speakers), speakers=speakers)
    transcriber = StandInTranscriber()
    answer = ask(
        tmp_path,
        path=path,
        transcriber=transcriber,
        files=upload(silence(1)),
        data=dict(task.fields),
    )
    assert answer.status_code == 200, answer.text
    wish = transcriber.wishes[0]
    assert wish.listening == Listening(threshold=0.6, pad_s=1.5, silence_s=0.7)
    assert wish.logprobs is not speakers
    assert all("logprobs" in it for it in answer.json()["segments"]) is not speakers


@pytest.mark.parametrize(
    ("field", "value"),
    [("vad_threshold", "1.1"), ("vad_silence_s", "-1"), ("vad_prefix_padding_s", "nan")],
)
def test_speech_that_cannot_be_is_refused(tmp_path: Path, field: str, value: str) -> None:
    answer = ask(tmp_path, files=upload(silence(1)), data={field: value})
    assert refusal(answer, 400)["param"] == field


@pytest.mark.parametrize(
    "many", ["0", "51", "00000000199", "000000001" + 5000 * "0"], ids=lambda many: many[:12]
)
def test_a_number_of_speakers_that_cannot_be_is_refused(tmp_path: Path, many: str) -> None:
    answer = ask(tmp_path, files=upload(silence(1)), data={"num_speakers": many})
    assert refusal(answer, 400)["param"] == "num_speakers"


def test_empty_fields_count_as_left_out(tmp_path: Path) -> None:
    transcriber = StandInTranscriber()
    fields = {"language": "", "prompt": "", "num_speakers": ""}
    answer = ask(tmp_path, transcriber=transcriber, files=upload(silence(1)), data=fields)
    assert answer.status_code == 200
    assert (transcriber.wishes[0].language, transcriber.wishes[0].prompt) == (None, None)


def test_a_given_number_of_speakers_reaches_the_diarizer(tmp_path: Path) -> None:
    diarizer = StandInDiarizer()
    fields = {"num_speakers": "3", "min_speakers": "2", "max_speakers": "4"}
    ask(tmp_path, diarizer=diarizer, files=upload(silence(1)), data=fields)
    count = diarizer.counts[-1]
    assert (count.exactly, count.minimum, count.maximum) == (3, 2, 4)


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"num_speakers": "2"}, None),
        ({"min_speakers": "1", "max_speakers": "2"}, None),
        ({"num_speakers": "3", "max_speakers": "4"}, "3 speakers"),
        ({"min_speakers": "3"}, "at least 3 speakers"),
        ({"min_speakers": "3", "max_speakers": "5"}, "3 to 5 speakers"),
    ],
)
def test_a_number_of_speakers_that_is_not_what_was_found_is_told(
    tmp_path: Path, fields: dict[str, str], asked: str | None
) -> None:
    body = ask(tmp_path, files=upload(silence(1)), data=fields).json()
    assert body["speakers_detected"] == 2
    told = [f"Asked for {asked}; 2 were found in this recording."] if asked else []
    assert body.get("warnings", []) == told


@pytest.mark.parametrize("fields", [{"num_speakers": "1"}, {"max_speakers": "1"}])
def test_more_speakers_than_there_may_be_are_made_fewer(
    tmp_path: Path, fields: dict[str, str]
) -> None:
    body = ask(tmp_path, files=upload(silence(1)), data=fields).json()
    assert body["speakers_detected"] == 1
    assert "warnings" not in body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_speakers", "0"),
        ("num_speakers", "two"),
        ("min_speakers", "-1"),
        ("max_speakers", "1000"),
        ("words", "perhaps"),
        ("language", "klingon"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(tmp_path: Path, field: str, value: str) -> None:
    error = refusal(ask(tmp_path, files=upload(silence(1)), data={field: value}), 400)
    assert (error["param"], error["type"]) == (field, "invalid_request_error")
    assert value in error["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"num_speakers": "50", "min_speakers": "1", "max_speakers": "50"}, None),
        ({"num_speakers": " 2 ", "min_speakers": "2", "max_speakers": "2"}, None),
        ({"num_speakers": "", "min_speakers": " "}, None),
        ({"num_speakers": "0"}, "num_speakers"),
        ({"num_speakers": "51"}, "num_speakers"),
        ({"num_speakers": "2.0"}, "num_speakers"),
        ({"num_speakers": "+2"}, "num_speakers"),
        ({"max_speakers": "51"}, "max_speakers"),
        ({"min_speakers": "3", "max_speakers": "2"}, "min_speakers"),
        ({"num_speakers": "1", "min_speakers": "2"}, "num_speakers"),
        ({"num_speakers": "3", "max_speakers": "2"}, "num_speakers"),
    ],
)
def test_the_speaker_fields_have_the_gateway_s_rules(
    tmp_path: Path, fields: dict[str, str], param: str | None
) -> None:
    answer = ask(tmp_path, files=upload(silence(1)), data=fields)
    assert (answer.json()["error"]["param"] if answer.is_error else None) == param
    app = Flask("gateway")
    app.request_class = SpoolingRequest
    with app.test_request_context(method="POST", data=fields):
        if param is None:
            options()
            return
        with pytest.raises(BadRequestError) as refused:
            options()
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("languages", "asked"),
    [(("en",), "de"), (("en", "fr"), "German"), (("de", "fr"), "en-US"), (("en",), "klingon")],
)
def test_a_language_that_the_model_cannot_do_is_refused_with_those_that_it_can(
    tmp_path: Path, languages: tuple[str, ...], asked: str
) -> None:
    transcriber = StandInTranscriber(languages=languages)
    fields = {"language": asked}
    error = refusal(
        ask(tmp_path, transcriber=transcriber, files=upload(silence(1)), data=fields), 400
    )
    assert (error["param"], error["code"]) == ("language", "unsupported_language")
    assert f"can only do {', '.join(languages)}." in error["message"]


@pytest.mark.parametrize("value", ["srt", "vtt", "text", "diarized_json"])
def test_formats_that_the_gateway_makes_are_left_to_it(tmp_path: Path, value: str) -> None:
    fields = {"response_format": value}
    answer = ask(tmp_path, path=TRANSCRIPTIONS, files=upload(silence(1)), data=fields)
    assert "gateway" in refusal(answer, 400)["message"]


def test_audio_over_the_length_limit_is_refused_before_any_work(tmp_path: Path) -> None:
    transcriber = StandInTranscriber()
    settings = EngineSettings(device="cpu", max_audio_s=2.0)
    answer = ask(tmp_path, settings=settings, transcriber=transcriber, files=upload(silence(2.5)))
    error = refusal(answer, 413)
    assert error["code"] == "audio_too_long"
    assert "ENGINE_MAX_AUDIO_S" in error["message"]
    assert not transcriber.wishes


def test_audio_that_does_not_fit_into_memory_is_refused_before_any_work(tmp_path: Path) -> None:
    transcriber = StandInTranscriber()
    settings = EngineSettings(device="cpu", memory_per_hour_bytes=10**18)
    answer = ask(tmp_path, settings=settings, transcriber=transcriber, files=upload(silence(1)))
    assert refusal(answer, 413)["code"] == "insufficient_memory"
    assert not transcriber.wishes


def test_an_upload_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 1000

    settings = EngineSettings(device="cpu", max_upload_bytes=50_000)
    headers = FORM | {"Content-Length": "100000"}
    answer = ask(tmp_path, settings=settings, content=body(), headers=headers)
    error = refusal(answer, 413)
    assert (error["code"], sent) == ("upload_too_large", 0)
    assert "ENGINE_MAX_UPLOAD_BYTES" in error["message"]


def test_an_upload_without_a_length_is_cut_off_at_the_limit(tmp_path: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        while True:
            yield b"x" * 1000

    settings = EngineSettings(device="cpu", max_upload_bytes=50_000)
    answer = ask(tmp_path, settings=settings, content=body(), headers=FORM)
    assert refusal(answer, 413)["code"] == "upload_too_large"


def test_a_disk_that_fills_up_while_the_upload_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(tempfile.TemporaryDirectory[str]):
        """A folder in which the upload's file behaves as on a full disk."""

        def __enter__(self) -> str:
            name = super().__enter__()
            Path(name, "upload").symlink_to("/dev/full")
            return name

    monkeypatch.setattr("images.whisperx.app.answering.tempfile.TemporaryDirectory", FullDisk)

    assert refusal(ask(tmp_path, files=upload(silence(20))), 507)["code"] == "storage_full"


def test_a_client_that_stops_sending_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.serving.forms.IDLE_S", 0.05)

    async def body() -> AsyncIterator[bytes]:
        yield b"--B\r\n"
        await asyncio.sleep(60)

    assert refusal(ask(tmp_path, content=body(), headers=FORM), 408)["code"] == "upload_stalled"


def test_a_client_that_sends_too_slowly_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.serving.forms.IDLE_S", 0.2)

    async def body() -> AsyncIterator[bytes]:
        yield b"--B\r\n"
        while True:  # never silent for long
            await asyncio.sleep(0.02)
            yield b"C"

    assert refusal(ask(tmp_path, content=body(), headers=FORM), 408)["code"] == "upload_too_slow"


def test_more_uploads_than_may_be_read_at_once_are_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.serving.rooms.MAX_UPLOADS", 0)
    answer = ask(tmp_path, files=upload(silence(1)))
    assert refusal(answer, 503)["code"] == "too_many_uploads"
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b'{"file": "a"}', {"Content-Type": "application/json"}),
        (b"", {}),
        (b"", {"Content-Type": "multipart/form-data"}),
        (b"no form at all", FORM),
        (b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut off', FORM),
        (
            b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n%b\r\n--B--' % (b"x" * 70_000),
            FORM,
        ),
        (
            b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\n1\r\n' * 2 + b"--B--",
            FORM,
        ),
    ],
    ids=["json", "nothing", "no boundary", "no form", "cut off", "huge field", "two files"],
)
def test_what_is_no_form_is_refused(
    tmp_path: Path, content: bytes, headers: dict[str, str]
) -> None:
    assert refusal(ask(tmp_path, content=content, headers=headers), 400)["code"] == "invalid_form"


def test_a_form_without_a_file_is_refused(tmp_path: Path) -> None:
    error = refusal(ask(tmp_path, files={"audio": ("a.wav", silence(1))}), 400)
    assert (error["code"], error["param"]) == ("missing_file", "file")


@pytest.mark.parametrize("key", [None, "Bearer wrong", "right", "Bearer right2"])
def test_without_the_key_nothing_is_answered_but_health(tmp_path: Path, key: str | None) -> None:
    settings = EngineSettings(device="cpu", api_key="right")
    headers = {"Authorization": key} if key else {}
    for method, path in (("POST", SPEAKERS), ("GET", "/openapi.json"), ("GET", "/nowhere")):
        answer = ask(tmp_path, settings=settings, method=method, path=path, headers=headers)
        assert refusal(answer, 401)["code"] == "invalid_api_key"
        assert "right" not in answer.text
    assert ask(tmp_path, settings=settings, method="GET", path="/health").status_code == 200


def test_the_key_opens_the_door(tmp_path: Path) -> None:
    settings = EngineSettings(device="cpu", api_key="right")
    headers = {"Authorization": "Bearer right"}
    answer = ask(tmp_path, settings=settings, headers=headers, files=upload(silence(1)))
    assert answer.status_code == 200


def test_unknown_addresses_and_methods_are_openai_errors(tmp_path: Path) -> None:
    missing = ask(tmp_path, method="GET", path="/v1/nowhere")
    assert refusal(missing, 404)["code"] == "not_found"
    wrong = ask(tmp_path, method="GET", path=SPEAKERS)
    assert refusal(wrong, 405)["code"] == "method_not_allowed"
    assert wrong.headers["Allow"] == "POST"


def test_the_openapi_document_shows_the_form(tmp_path: Path) -> None:
    document = ask(tmp_path, method="GET", path="/openapi.json").json()
    form = document["paths"][SPEAKERS]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["required"] == ["file"]
    assert {"file", "num_speakers", "language"} <= set(form["schema"]["properties"])

"""What is around the model: fields, keys, limits, turns, states; with a stand-in for the model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from images.parakeet.app.settings import ParakeetSettings
from images.serving.hub import ModelError
from tests.engine.made_audio import silence
from tests.parakeet.in_process import TRANSCRIPTIONS, Client, client, until
from tests.standins.parakeet_recogniser import LOST_CONTEXT, StandInRecogniser


def ask(
    folder: Path,
    question: Callable[[Client], Awaitable[httpx.Response]],
    recogniser: StandInRecogniser | None = None,
    **settings: Any,  # noqa: ANN401 - fields of ParakeetSettings
) -> httpx.Response:
    """One request to an app of its own; nothing of it must be left."""

    async def send() -> httpx.Response:
        async with client(folder, recogniser, **settings) as found:
            return await question(found)

    response = asyncio.run(send())
    assert not list(folder.iterdir())
    return response


def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_json_is_the_default(tmp_path: Path) -> None:
    body = ask(tmp_path, lambda found: found.transcribe()).json()
    assert body == {
        "text": "Good morning. Hello.",
        "usage": {"type": "duration", "seconds": 1},
    }


def test_text_is_the_text_alone(tmp_path: Path) -> None:
    answer = ask(tmp_path, lambda found: found.transcribe(response_format="text"))
    assert answer.text == "Good morning. Hello.\n"
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("field", ["timestamp_granularities[]", "timestamp_granularities"])
def test_words_are_listed_where_they_are_asked_for(tmp_path: Path, field: str) -> None:
    fields = {"response_format": "verbose_json", field: "word"}
    body = ask(tmp_path, lambda found: found.transcribe(**fields)).json()
    assert body["words"] == [
        {"word": "Good", "start": 0.1, "end": 0.3},
        {"word": "morning.", "start": 0.3, "end": 0.6},
        {"word": "Hello.", "start": 0.7, "end": 0.9},
    ]
    assert [segment["text"] for segment in body["segments"]] == ["Good morning.", "Hello."]
    assert [segment["tokens"] for segment in body["segments"]] == [[0, 1], [0]]


def test_a_long_recording_is_heard_in_windows_and_its_times_go_on(tmp_path: Path) -> None:
    recogniser = StandInRecogniser()
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    body = ask(
        tmp_path,
        lambda found: found.transcribe(silence(25), **fields),
        recogniser,
        window_s=10.0,
    ).json()
    lengths = recogniser.lengths[1:]
    assert len(lengths) >= 3
    assert sum(lengths) == 25 * 16_000
    assert max(lengths) <= 10 * 16_000
    starts = [word["start"] for word in body["words"]]
    assert len(starts) == 3 * len(lengths)
    assert starts == sorted(starts)
    assert [segment["seek"] for segment in body["segments"][::2]] == [
        round(100 * sum(lengths[:number]) / 16_000) for number in range(len(lengths))
    ]


@pytest.mark.parametrize(
    ("languages", "given", "answered"),
    [
        ((), "de", "german"),
        ((), "", ""),
        (("en",), "", "english"),
        (("en", "de"), "en-US", "english"),
    ],
)
def test_the_language_is_the_one_given_or_the_only_one(
    tmp_path: Path, languages: tuple[str, ...], given: str, answered: str
) -> None:
    fields = {"response_format": "verbose_json", "language": given}
    recogniser = StandInRecogniser(languages=languages)
    body = ask(tmp_path, lambda found: found.transcribe(**fields), recogniser).json()
    assert body["language"] == answered


def test_a_language_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    recogniser = StandInRecogniser(languages=("en", "de"))
    error = refusal(ask(tmp_path, lambda found: found.transcribe(language="ja"), recogniser), 400)
    assert (error["code"], error["param"]) == ("unsupported_language", "language")
    assert "de, en" in error["message"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"no audio at all" * 100, "unsupported_format"),
        (silence(0), "audio_too_short"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    error = refusal(ask(tmp_path, lambda found: found.transcribe(content)), 400)
    assert (error["code"], error["param"]) == (code, "file")


@pytest.mark.parametrize(
    ("field", "value"),
    [("response_format", "srt"), ("timestamp_granularities[]", "syllable")],
)
def test_a_field_that_cannot_be_is_refused_by_its_name(
    tmp_path: Path, field: str, value: str
) -> None:
    error = refusal(ask(tmp_path, lambda found: found.transcribe(**{field: value})), 400)
    assert error["param"] == field.removesuffix("[]")
    assert value in error["message"]


def test_a_form_without_a_file_is_refused(tmp_path: Path) -> None:
    answer = ask(
        tmp_path, lambda found: found.http.post(TRANSCRIPTIONS, files={"other": b"content"})
    )
    assert refusal(answer, 400)["code"] == "missing_file"


def test_what_is_no_form_is_refused(tmp_path: Path) -> None:
    answer = ask(tmp_path, lambda found: found.http.post(TRANSCRIPTIONS, json={"file": "audio"}))
    assert refusal(answer, 400)["code"] == "invalid_form"


def test_an_upload_over_the_limit_is_refused_with_the_setting_s_name(tmp_path: Path) -> None:
    answer = ask(tmp_path, lambda found: found.transcribe(), max_upload_bytes=10_000)
    error = refusal(answer, 413)
    assert error["code"] == "upload_too_large"
    assert "PARAKEET_MAX_UPLOAD_BYTES" in error["message"]


def test_audio_over_the_limit_is_refused_with_the_setting_s_name(tmp_path: Path) -> None:
    answer = ask(tmp_path, lambda found: found.transcribe(silence(3)), max_audio_s=2.0)
    error = refusal(answer, 413)
    assert error["code"] == "audio_too_long"
    assert "PARAKEET_MAX_AUDIO_S" in error["message"]


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/v1/models", None),
        ("/v1/models", "Bearer other"),
        ("/v1/models", "secret"),
        ("/openapi.json", None),
        ("/nowhere", None),
    ],
)
def test_without_the_key_nothing_is_answered(tmp_path: Path, path: str, given: str | None) -> None:
    headers = {"Authorization": given} if given else {}
    answer = ask(tmp_path, lambda found: found.http.get(path, headers=headers), api_key="secret")
    assert refusal(answer, 401)["code"] == "invalid_api_key"
    assert "secret" not in answer.text


def test_health_needs_no_key_and_the_rest_takes_it(tmp_path: Path) -> None:
    assert ask(tmp_path, lambda found: found.health(), api_key="secret").status_code == 200
    headers = {"Authorization": "Bearer secret"}
    answer = ask(
        tmp_path, lambda found: found.http.get("/v1/models", headers=headers), api_key="secret"
    )
    assert answer.status_code == 200


def test_the_model_is_listed_as_openai_lists_models(tmp_path: Path) -> None:
    body = ask(tmp_path, lambda found: found.http.get("/v1/models")).json()
    (model,) = body["data"]
    assert body["object"] == "list"
    assert (model["id"], model["object"], model["owned_by"]) == ("stand-in", "model", "local")
    assert isinstance(model["created"], int)


def test_an_unknown_address_is_an_error_of_openai_s_shape(tmp_path: Path) -> None:
    refusal(ask(tmp_path, lambda found: found.http.get("/v1/nothing")), 404)
    refusal(ask(tmp_path, lambda found: found.http.get(TRANSCRIPTIONS)), 405)


def test_one_request_more_than_the_queue_holds_is_told_to_come_back(tmp_path: Path) -> None:
    async def overfill() -> None:
        recogniser = StandInRecogniser(gate=threading.Event())
        assert recogniser.gate is not None
        async with client(tmp_path, recogniser, queue=1) as found:
            taken = [asyncio.create_task(found.transcribe()) for _ in range(2)]
            await until(lambda: found.service.health().in_flight == 2)
            refused = await found.transcribe()
            assert refusal(refused, 429)["code"] == "queue_full"
            assert 1 <= int(refused.headers["Retry-After"]) <= 60
            recogniser.gate.set()
            assert [answer.status_code for answer in await asyncio.gather(*taken)] == [200, 200]
            assert (await found.transcribe()).status_code == 200

    asyncio.run(overfill())


def test_only_one_window_is_heard_at_a_time_and_a_clip_goes_before_a_long_one(
    tmp_path: Path,
) -> None:
    async def both() -> None:
        recogniser = StandInRecogniser(gate=threading.Event())
        assert recogniser.gate is not None
        async with client(tmp_path, recogniser, window_s=40.0) as found:
            long = asyncio.create_task(found.transcribe(silence(130)))
            await until(recogniser.entered.is_set)
            clip = asyncio.create_task(found.transcribe(silence(2)))
            await until(lambda: len(found.service._scheduler._tasks) == 2)
            assert len(recogniser.lengths) == 2
            recogniser.gate.set()
            await asyncio.gather(long, clip)
        assert recogniser.lengths.index(2 * 16_000) == 2

    asyncio.run(both())


def test_health_tells_how_far_the_work_is(tmp_path: Path) -> None:
    async def look() -> None:
        recogniser = StandInRecogniser(gate=threading.Event())
        assert recogniser.gate is not None
        async with client(tmp_path, recogniser) as found:
            assert (await found.health()).json()["progress"] is None
            working = asyncio.create_task(found.transcribe(silence(5)))
            await until(recogniser.entered.is_set)
            health = (await found.health()).json()
            assert (health["in_flight"], health["queue"], health["device"]) == (1, 32, "cpu")
            assert health["progress"] == {"done_s": 0.0, "total_s": 5.0, "steps": 0}
            recogniser.gate.set()
            await working
            await until(lambda: found.service.health().progress is None)

    asyncio.run(look())


def test_while_the_model_loads_health_answers_and_requests_are_told_to_wait(
    tmp_path: Path,
) -> None:
    async def look() -> None:
        released = threading.Event()

        def load(_settings: ParakeetSettings) -> StandInRecogniser:
            assert released.wait(30)
            return StandInRecogniser()

        async with client(tmp_path, load=load, status="loading") as found:
            health = await found.health()
            assert health.status_code == 200
            assert health.json()["model"] == "nvidia/parakeet-tdt-0.6b-v3"
            assert health.json()["model_loaded"] is False
            refused = await found.transcribe()
            assert refusal(refused, 503)["code"] == "model_loading"
            assert int(refused.headers["Retry-After"]) >= 1
            released.set()
            await until(lambda: found.service.health().status == "ready")
            assert (await found.transcribe()).status_code == 200

    asyncio.run(look())


def test_a_model_that_cannot_be_had_is_told_by_health(tmp_path: Path) -> None:
    async def look() -> None:
        def load(_settings: ParakeetSettings) -> StandInRecogniser:
            raise ModelError("the hub has no such model")

        async with client(tmp_path, load=load, status="failed") as found:
            health = await found.health()
            assert health.status_code == 503
            assert "the hub has no such model" in health.json()["detail"]
            assert refusal(await found.transcribe(), 503)["code"] == "model_failed"

    asyncio.run(look())


def test_a_lost_gpu_is_told_by_health_and_refuses_all_that_follows(tmp_path: Path) -> None:
    async def lose() -> None:
        recogniser = StandInRecogniser(error=RuntimeError(LOST_CONTEXT))
        async with client(tmp_path, recogniser) as found:
            assert refusal(await found.transcribe(), 503)["code"] == "server_fatal"
            health = await found.health()
            assert (health.status_code, health.json()["status"]) == (503, "fatal")
            calls = len(recogniser.lengths)
            answer = await found.transcribe()
            assert refusal(answer, 503)["code"] == "server_fatal"
            assert "illegal" not in answer.text
            assert len(recogniser.lengths) == calls

    asyncio.run(lose())


def test_memory_that_ran_out_is_not_the_end(tmp_path: Path) -> None:
    async def run_out() -> None:
        recogniser = StandInRecogniser(error=RuntimeError("CUDA out of memory. Tried to allocate"))
        async with client(tmp_path, recogniser) as found:
            assert refusal(await found.transcribe(), 503)["code"] == "out_of_memory"
            assert (await found.health()).json()["status"] == "ready"
            recogniser.error = None
            assert (await found.transcribe()).status_code == 200

    asyncio.run(run_out())


def test_a_fault_of_the_program_tells_nothing_of_it(tmp_path: Path) -> None:
    recogniser = StandInRecogniser(error=KeyError("a secret"))
    answer = ask(tmp_path, lambda found: found.transcribe(), recogniser)
    assert refusal(answer, 500)["code"] == "internal_error"
    assert "a secret" not in answer.text

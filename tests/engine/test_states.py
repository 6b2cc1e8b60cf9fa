"""What the engine says and does while its models load, work, and fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from images.serving.heard import Chunk, Heard
from images.serving.hub import ModelError
from images.serving.recording import Recording, Samples
from images.serving.scheduling import Job, Steps, Unwanted
from images.serving.windows import Window
from images.whisperx.app.diarization import SpeakerCount, Voices
from images.whisperx.app.engine import TRANSCRIPTION
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.speech_map import SpeechMap
from images.whisperx.app.transcription import Wish
from tests.engine.in_process import SPEAKERS, TRANSCRIPTIONS, client, until, upload
from tests.engine.made_audio import silence
from tests.standins.engine_faults import LOST_CONTEXT
from tests.standins.engine_models import StandInDiarizer, StandInTranscriber, make_engine

# One thread, so that one request is worked on at a time.
SETTINGS = EngineSettings(device="cpu", queue=1, threads=1)
SECOND = silence(1)
LONGER_S = 4.0
"""Another length than the warm-up's sounds have."""


def test_requests_that_come_before_the_models_are_told_when_to_come_back(tmp_path: Path) -> None:
    loading = threading.Event()

    def slow(_settings: EngineSettings, _device: str, _threads: int) -> StandInTranscriber:
        assert loading.wait(30)
        return StandInTranscriber()

    engine = make_engine(SETTINGS, load_transcriber=slow)

    async def look() -> None:
        async with client(engine, tmp_path, status=None) as http:
            health = await http.get("/health")
            assert (health.status_code, health.json()["status"]) == (200, "loading")
            assert not health.json()["whisper_loaded"]
            assert "Whisper" in health.json()["detail"]
            refused = await http.post(TRANSCRIPTIONS, files=upload(SECOND))
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "model_loading"
            assert int(refused.headers["Retry-After"]) > 0
            loading.set()
            await until(lambda: engine.health().status == "ready")
            assert (await http.get("/health")).json()["whisper_loaded"]
            assert (await http.post(TRANSCRIPTIONS, files=upload(SECOND))).status_code == 200

    asyncio.run(look())


def test_a_diarizer_that_cannot_be_had_leaves_transcription_at_work(tmp_path: Path) -> None:
    def gated(
        _settings: EngineSettings, _device: str, _threads: int, _check: Callable[[], None]
    ) -> StandInDiarizer:
        raise ModelError("the model is gated: accept its conditions")

    engine = make_engine(SETTINGS, load_diarizer=gated)

    async def look() -> None:
        async with client(engine, tmp_path, status="failed") as http:
            await until(lambda: engine.health().whisper_loaded)
            health = await http.get("/health")
            assert health.status_code == 503
            assert "accept its conditions" in health.json()["detail"]
            assert not health.json()["diarizer_loaded"]
            refused = await http.post(SPEAKERS, files=upload(SECOND))
            assert (refused.status_code, code(refused)) == (503, "model_failed")
            assert (await http.post(TRANSCRIPTIONS, files=upload(SECOND))).status_code == 200

    asyncio.run(look())


def test_a_model_that_could_not_be_loaded_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.serving.models.LOAD_AGAIN_S", 0.01)
    attempts = iter([OSError("the disk is away"), OSError("still"), None])

    def flaky(_settings: EngineSettings, _device: str, _threads: int) -> StandInTranscriber:
        error = next(attempts)
        if error:
            raise error
        return StandInTranscriber()

    engine = make_engine(SETTINGS, load_transcriber=flaky)

    async def look() -> None:
        async with client(engine, tmp_path, status="ready") as http:
            assert (await http.get("/health")).json()["detail"] == ""

    asyncio.run(look())


def test_health_answers_and_shows_progress_while_a_request_is_worked_on(tmp_path: Path) -> None:
    gate = threading.Event()
    transcriber = StandInTranscriber(gate=gate)

    async def look() -> None:
        async with client(make_engine(SETTINGS, transcriber), tmp_path) as http:
            assert (await http.get("/health")).json()["progress"] is None
            request = asyncio.create_task(http.post(SPEAKERS, files=upload(silence(4))))
            await until(transcriber.entered.is_set)
            health = (await http.get("/health")).json()
            assert health["in_flight"] == 1
            first = health["progress"]
            assert (first["stage"], first["done_s"], first["total_s"]) == ("transcription", 0, 4)
            gate.set()
            assert (await request).status_code == 200
            transcriber.entered.clear()
            gate.clear()
            request = asyncio.create_task(http.post(SPEAKERS, files=upload(silence(4))))
            await until(transcriber.entered.is_set)
            second = (await http.get("/health")).json()["progress"]
            assert second["done_s"] == first["done_s"]
            assert second["steps"] > first["steps"]
            gate.set()
            assert (await request).status_code == 200
            assert (await http.get("/health")).json()["in_flight"] == 0

    asyncio.run(look())


def test_more_requests_than_may_wait_are_turned_away(tmp_path: Path) -> None:
    gate = threading.Event()
    transcriber = StandInTranscriber(gate=gate)
    engine = make_engine(SETTINGS, transcriber)

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            working = asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(SECOND)))
            await until(transcriber.entered.is_set)
            waiting = asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(SECOND)))
            await until(lambda: engine.health().in_flight == 2)
            refused = await http.post(TRANSCRIPTIONS, files=upload(SECOND))
            assert (refused.status_code, code(refused)) == (429, "queue_full")
            assert int(refused.headers["Retry-After"]) > 0
            gate.set()
            assert [(await request).status_code for request in (working, waiting)] == [200, 200]

    asyncio.run(look())
    assert not list(tmp_path.iterdir())


def test_a_request_that_nobody_waits_for_ends_at_its_next_step(tmp_path: Path) -> None:
    engine = make_engine(SETTINGS)
    at_work, go_on = threading.Event(), threading.Event()
    made = []

    def work() -> Steps:
        for step in range(1000):
            made.append(step)
            at_work.set()
            assert go_on.wait(30)
            yield 0.0

    async def look() -> None:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with client(engine, tmp_path):
            job = Job(1.0)
            running = asyncio.create_task(engine.run(job, {TRANSCRIPTION: work()}, gone))
            await until(at_work.is_set)
            gone.set_result(None)
            await until(job.unwanted.is_set)
            assert not running.done()  # its files are needed until the step is over
            go_on.set()
            with pytest.raises(Unwanted):
                await running

    asyncio.run(look())
    assert made == [0]


def test_a_wait_that_is_longer_than_the_deadline_is_refused_with_a_time_to_come_back(
    tmp_path: Path,
) -> None:
    transcriber = StandInTranscriber(gate=threading.Event())
    settings = replace(SETTINGS, queue=8, queue_deadline_s=1.0)

    async def look() -> None:
        async with client(make_engine(settings, transcriber), tmp_path) as http:
            long = asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(silence(100))))
            await until(transcriber.entered.is_set)
            refused = await http.post(TRANSCRIPTIONS, files=upload(silence(101)))
            assert (refused.status_code, code(refused)) == (429, "queue_full")
            assert 0 < int(refused.headers["Retry-After"]) <= 60
            assert "ENGINE_QUEUE_DEADLINE_S" in refused.text
            # A clip goes before the long recording, so that it has no such wait.
            clip = asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(SECOND)))
            assert transcriber.gate is not None
            transcriber.gate.set()
            assert [(await one).status_code for one in (clip, long)] == [200, 200]

    asyncio.run(look())


def test_a_wait_of_hours_is_not_told_as_such_because_clients_would_give_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "images.serving.scheduling._Speed.work_per_audio", property(lambda _self: 1000.0)
    )
    transcriber = StandInTranscriber(gate=threading.Event())

    async def look() -> None:
        engine = make_engine(replace(SETTINGS, queue=8), transcriber)
        async with client(engine, tmp_path) as http:
            long = asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(silence(100))))
            await until(transcriber.entered.is_set)
            refused = await http.post(TRANSCRIPTIONS, files=upload(silence(101)))
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
            assert transcriber.gate is not None
            transcriber.gate.set()
            assert (await long).status_code == 200

    asyncio.run(look())


def test_on_a_cpu_of_two_cores_both_lanes_work_at_the_same_time(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=30)

    class MeetingDiarizer(StandInDiarizer):
        """Goes on when the transcriber is at work, too."""

        def listen(
            self, recording: Recording, speech: SpeechMap, window: Window, count: SpeakerCount
        ) -> Generator[float, None, Voices]:
            if window.length_s == LONGER_S:
                both.wait()
            return (yield from super().listen(recording, speech, window, count))

    class MeetingTranscriber(StandInTranscriber):
        """The same the other way round."""

        def hear(
            self, chunks: Sequence[Chunk], samples: Sequence[Samples], language: str, wish: Wish
        ) -> list[Heard]:
            if chunks[0].end_s == LONGER_S:
                both.wait()
            return super().hear(chunks, samples, language, wish)

    async def look() -> None:
        settings = replace(SETTINGS, threads=2)
        engine = make_engine(settings, MeetingTranscriber(), MeetingDiarizer())
        async with client(engine, tmp_path) as http:
            answer = await http.post(SPEAKERS, files=upload(silence(LONGER_S)))
            assert answer.status_code == 200

    asyncio.run(look())


def test_memory_that_others_took_while_a_request_waited_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.whisperx.app.work.available_memory", lambda: 0)

    async def look() -> None:
        async with client(make_engine(SETTINGS), tmp_path) as http:
            refused = await http.post(TRANSCRIPTIONS, files=upload(SECOND))
            assert (refused.status_code, code(refused)) == (413, "insufficient_memory")

    asyncio.run(look())


def test_of_several_windows_each_is_told_the_maximum_alone(tmp_path: Path) -> None:
    diarizer = StandInDiarizer()
    settings = replace(SETTINGS, window_s=40.0)
    fields = {"min_speakers": "1", "max_speakers": "3"}

    async def look() -> None:
        async with client(make_engine(settings, diarizer=diarizer), tmp_path) as http:
            await http.post(SPEAKERS, files=upload(silence(100)), data=fields)

    asyncio.run(look())
    warm_up, *windows = diarizer.counts
    assert not warm_up.is_given
    assert windows == [SpeakerCount(maximum=3)] * 3


def test_after_a_lost_gpu_nothing_touches_the_model_again(tmp_path: Path) -> None:
    transcriber = StandInTranscriber(error=RuntimeError(LOST_CONTEXT), gate=threading.Event())
    engine = make_engine(SETTINGS, transcriber)

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            failing = asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(SECOND)))
            await until(transcriber.entered.is_set)
            waiting = asyncio.create_task(http.post(SPEAKERS, files=upload(SECOND)))
            await until(lambda: engine.health().in_flight == 2)
            assert transcriber.gate is not None
            transcriber.gate.set()
            later = [await failing, await waiting]
            later.append(await http.post(SPEAKERS, files=upload(SECOND)))
            for answer in later:
                assert (answer.status_code, code(answer)) == (503, "engine_fatal")
                assert "illegal memory access" not in answer.text
            health = await http.get("/health")
            assert (health.status_code, health.json()["status"]) == (503, "fatal")
            assert "Restart" in health.json()["detail"]

    asyncio.run(look())
    warm_up_and_the_failing_one = 2
    assert transcriber.calls == warm_up_and_the_failing_one


def test_an_upload_that_was_on_its_way_when_the_gpu_was_lost_is_not_even_decoded(
    tmp_path: Path,
) -> None:
    transcriber = StandInTranscriber(error=RuntimeError(LOST_CONTEXT))

    async def look() -> None:
        uploading, lost = asyncio.Event(), asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
            uploading.set()
            await lost.wait()
            yield b"no audio\r\n--B--\r\n"  # which the decoder would refuse

        headers = {"Content-Type": "multipart/form-data; boundary=B"}
        async with client(make_engine(SETTINGS, transcriber), tmp_path) as http:
            slow = asyncio.create_task(http.post(SPEAKERS, content=body(), headers=headers))
            await uploading.wait()
            assert code(await http.post(TRANSCRIPTIONS, files=upload(SECOND))) == "engine_fatal"
            lost.set()
            assert code(await slow) == "engine_fatal"

    asyncio.run(look())


def test_a_lost_gpu_while_loading_is_fatal_and_not_tried_again(tmp_path: Path) -> None:
    attempts = []

    def lost(_settings: EngineSettings, _device: str, _threads: int) -> StandInTranscriber:
        attempts.append(1)
        raise RuntimeError(LOST_CONTEXT)

    engine = make_engine(SETTINGS, load_transcriber=lost)

    async def look() -> None:
        async with client(engine, tmp_path, status="fatal") as http:
            assert code(await http.post(SPEAKERS, files=upload(SECOND))) == "engine_fatal"

    asyncio.run(look())
    assert len(attempts) == 1


def test_a_shortage_of_gpu_memory_concerns_its_request_alone(tmp_path: Path) -> None:
    transcriber = StandInTranscriber(error=RuntimeError("CUDA failed with error out of memory"))

    async def look() -> None:
        async with client(make_engine(SETTINGS, transcriber), tmp_path) as http:
            refused = await http.post(TRANSCRIPTIONS, files=upload(SECOND))
            assert (refused.status_code, code(refused)) == (503, "out_of_memory")
            assert "Retry-After" in refused.headers
            transcriber.error = None
            assert (await http.post(TRANSCRIPTIONS, files=upload(SECOND))).status_code == 200

    asyncio.run(look())


def test_an_unexpected_error_says_nothing_of_the_inside(tmp_path: Path) -> None:
    transcriber = StandInTranscriber(error=RuntimeError("secret detail in /some/path"))

    async def look() -> None:
        async with client(make_engine(SETTINGS, transcriber), tmp_path) as http:
            failed = await http.post(TRANSCRIPTIONS, files=upload(SECOND))
            assert (failed.status_code, code(failed)) == (500, "internal_error")
            assert "secret" not in failed.text
            assert (await http.get("/health")).json()["status"] == "ready"

    asyncio.run(look())
    assert not list(tmp_path.iterdir())


def code(response: httpx.Response) -> str:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["code"])

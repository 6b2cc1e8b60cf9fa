"""Models that nobody needs are dropped, and come back for whoever does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from images.serving import models
from images.whisperx.app.answering import PROBE_HEADER
from images.whisperx.app.engine import Engine
from images.whisperx.app.settings import EngineSettings
from tests.engine.in_process import SPEAKERS, TRANSCRIPTIONS, client, until, upload
from tests.engine.made_audio import silence
from tests.standins.engine_models import StandInDiarizer, StandInTranscriber, make_engine

SOON = EngineSettings(device="cpu", unload_after_min=0.2 / 60)
SECOND = silence(1)


class Loads:
    """A loader that counts."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count = 0
        self.error = error

    def __call__(self, _s: EngineSettings, _device: str, _threads: int) -> StandInTranscriber:
        self.count += 1
        if self.error is not None and self.count > 1:
            raise self.error
        return StandInTranscriber()


def test_load_unload_load(tmp_path: Path) -> None:
    loads = Loads()
    engine = make_engine(SOON, load_transcriber=loads)

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            for times in (1, 2, 3):
                assert (await http.post(SPEAKERS, files=upload(SECOND))).status_code == 200
                assert loads.count == times
                await unloaded(engine, http)

    asyncio.run(look())


def test_whoever_needs_only_one_model_loads_only_that(tmp_path: Path) -> None:
    engine = make_engine(SOON)

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            await unloaded(engine, http)
            assert (await http.post(TRANSCRIPTIONS, files=upload(SECOND))).status_code == 200
            assert engine.diarizer.model is None

    asyncio.run(look())


def test_looking_at_the_health_neither_loads_nor_keeps_loaded(tmp_path: Path) -> None:
    loads = Loads()
    engine = make_engine(SOON, load_transcriber=loads)

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            health = (await http.get("/health")).json()
            while health["status"] != "unloaded":  # although it asks all the time
                health = (await http.get("/health")).json()
            assert (health["model"], health["diarizer"]) == ("stand-in", "stand-in")
            assert loads.count == 1

    asyncio.run(look())


def test_a_probe_with_real_speech_neither_loads_nor_keeps_loaded(tmp_path: Path) -> None:
    loads = Loads()
    engine = make_engine(SOON, load_transcriber=loads)
    probe = {PROBE_HEADER: "1"}

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            answer = await http.post(TRANSCRIPTIONS, files=upload(SECOND), headers=probe)
            assert answer.status_code == 200
            while answer.status_code == 200:
                answer = await http.post(TRANSCRIPTIONS, files=upload(SECOND), headers=probe)
            assert answer.status_code == 409
            assert answer.json()["error"]["code"] == "unloaded"
            assert loads.count == 1

    asyncio.run(look())


def test_nothing_is_dropped_under_a_request(tmp_path: Path) -> None:
    transcriber = StandInTranscriber(gate=threading.Event())
    engine = make_engine(SOON, transcriber)

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            request = asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(SECOND)))
            await until(transcriber.entered.is_set)
            await asyncio.sleep(1.0)  # five times as long as it takes to be idle
            assert engine.whisper.model is not None
            assert transcriber.gate is not None
            transcriber.gate.set()
            assert (await request).status_code == 200

    asyncio.run(look())


def test_nothing_is_dropped_while_another_model_still_loads(tmp_path: Path) -> None:
    loading = threading.Event()

    def slow(
        _s: EngineSettings, _device: str, _threads: int, _check: Callable[[], None]
    ) -> StandInDiarizer:
        assert loading.wait(30)
        return StandInDiarizer()

    engine = make_engine(SOON, load_diarizer=slow)

    async def look() -> None:
        async with client(engine, tmp_path, status=None) as http:
            await until(lambda: engine.whisper.model is not None)
            await asyncio.sleep(1.0)  # as above
            assert (await http.get("/health")).json()["status"] == "loading"
            assert engine.whisper.model is not None
            loading.set()
            await unloaded(engine, http)

    asyncio.run(look())


def test_a_probe_is_answered_by_the_models_that_are_loaded(tmp_path: Path) -> None:
    engine = make_engine(SOON)
    probe = {PROBE_HEADER: "1"}

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            await unloaded(engine, http)
            assert (await http.post(TRANSCRIPTIONS, files=upload(SECOND))).status_code == 200
            for path, status in ((TRANSCRIPTIONS, 200), (SPEAKERS, 409)):
                answer = await http.post(path, files=upload(SECOND), headers=probe)
                assert answer.status_code == status

    asyncio.run(look())


def test_without_the_setting_nothing_is_dropped(tmp_path: Path) -> None:
    engine = make_engine(replace(SOON, unload_after_min=0.0))

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            await asyncio.sleep(0.5)
            assert (await http.get("/health")).json()["status"] == "ready"

    asyncio.run(look())


def test_a_model_that_cannot_be_loaded_again_is_a_503_and_tried_with_the_next_request(
    tmp_path: Path,
) -> None:
    loads = Loads(OSError("the disk is away"))
    engine = make_engine(SOON, load_transcriber=loads)

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            await unloaded(engine, http)
            failed = await http.post(TRANSCRIPTIONS, files=upload(SECOND))
            assert (failed.status_code, failed.json()["error"]["code"]) == (503, "model_failed")
            assert "disk" not in failed.text
            assert "GET /health says why" in failed.text
            health = await http.get("/health")
            assert (health.status_code, health.json()["status"]) == (503, "failed")
            why = "OSError: the disk is away. It is tried again with the next request"
            assert why in health.json()["detail"]
            probe = {PROBE_HEADER: "1"}
            probed = await http.post(TRANSCRIPTIONS, files=upload(SECOND), headers=probe)
            assert (probed.status_code, loads.count) == (409, 2)
            loads.error = None
            assert (await http.post(TRANSCRIPTIONS, files=upload(SECOND))).status_code == 200
            health = await http.get("/health")
            assert (health.status_code, "disk" in health.text) == (200, False)

    asyncio.run(look())


def test_a_reload_that_failed_is_forgotten_after_a_time_so_that_requests_are_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = Loads(OSError("the disk is away"))
    engine = make_engine(SOON, load_transcriber=loads)

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            await unloaded(engine, http)
            for count in (2, 3):
                failed = await http.post(TRANSCRIPTIONS, files=upload(SECOND))
                assert (failed.status_code, loads.count) == (503, count)
                assert (await http.get("/health")).json()["status"] == "failed"
                with monkeypatch.context() as patched:
                    patched.setattr(models, "LOAD_AGAIN_S", 0.0)
                    health = await http.get("/health")
                    assert (health.status_code, health.json()["status"]) == (200, "unloaded")
                    assert "disk" not in health.text

    asyncio.run(look())


def test_while_a_model_is_loaded_again_requests_are_still_invited(tmp_path: Path) -> None:
    loading, go_on = threading.Event(), threading.Event()
    loads = Loads()

    def slow(settings: EngineSettings, device: str, threads: int) -> StandInTranscriber:
        if loads.count:
            loading.set()
            assert go_on.wait(30)
        return loads(settings, device, threads)

    engine = make_engine(SOON, load_transcriber=slow)

    async def look() -> None:
        async with client(engine, tmp_path) as http:
            await unloaded(engine, http)
            request = asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(SECOND)))
            await until(loading.is_set)
            health = await http.get("/health")
            assert (health.status_code, health.json()["status"]) == (200, "unloaded")
            go_on.set()
            assert (await request).status_code == 200

    asyncio.run(look())


async def unloaded(engine: Engine, http: httpx.AsyncClient) -> None:
    await until(lambda: engine.health().status == "unloaded")
    assert (await http.get("/health")).json()["status"] == "unloaded"
    assert engine.whisper.model is None
    await until(lambda: engine.diarizer.model is None)

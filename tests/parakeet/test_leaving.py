"""A client that leaves."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from images.parakeet.app.server import create_app
from tests.engine.made_audio import silence
from tests.parakeet.in_process import TRANSCRIPTIONS, client, until
from tests.standins.parakeet_recogniser import StandInRecogniser

Message = Any


def test_a_client_that_leaves_frees_its_place_and_its_work_ends(tmp_path: Path) -> None:
    asyncio.run(_leave(tmp_path, StandInRecogniser(gate=threading.Event())))
    assert not list(tmp_path.iterdir())


async def _leave(folder: Path, recogniser: StandInRecogniser) -> None:
    left = asyncio.Event()
    sent: list[Message] = []
    async with client(folder, recogniser, window_s=10.0) as found:
        files = {"file": ("audio.wav", silence(60))}
        request = found.http.build_request("POST", TRANSCRIPTIONS, files=files)
        body: list[Message] = [{"type": "http.request", "body": await request.aread()}]

        async def receive() -> Message:
            if body:
                return body.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": TRANSCRIPTIONS,
            "query_string": b"",
            "headers": [(k.lower().encode(), v.encode()) for k, v in request.headers.items()],
        }
        answering = asyncio.create_task(create_app(found.service)(scope, receive, send))
        await until(recogniser.entered.is_set)
        assert found.service.health().in_flight == 1
        left.set()
        await asyncio.sleep(0.1)  # the server hears of it
        assert recogniser.gate is not None
        recogniser.gate.set()  # the window that was at work ends; no other is begun
        await answering
        warm_up_and_one_window = 2
        assert len(recogniser.lengths) == warm_up_and_one_window
        assert found.service.health().in_flight == 0
        assert sent[0]["status"] == 499

"""The app in this process, around a stand-in model: fast, and every moment can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from images.parakeet.app.server import create_app
from images.parakeet.app.service import Load, Service
from images.parakeet.app.settings import ParakeetSettings
from tests.engine.made_audio import silence
from tests.standins.parakeet_recogniser import StandInRecogniser

TRANSCRIPTIONS = "/v1/audio/transcriptions"


@dataclass
class Client:
    """A client of the app."""

    http: httpx.AsyncClient
    service: Service

    async def transcribe(self, content: bytes | None = None, /, **fields: str) -> httpx.Response:
        """Upload a second of silence, or something else."""
        data = silence(1) if content is None else content
        return await self.http.post(
            TRANSCRIPTIONS, files={"file": ("audio.wav", data)}, data=fields
        )

    async def health(self) -> httpx.Response:
        """What GET /health says."""
        return await self.http.get("/health")


@asynccontextmanager
async def client(
    spool: Path,
    recogniser: StandInRecogniser | None = None,
    *,
    load: Load | None = None,
    status: str = "ready",
    **settings: Any,  # noqa: ANN401 - fields of ParakeetSettings
) -> AsyncIterator[Client]:
    """A client of an app of its own; `status` is waited for first."""
    declared = ParakeetSettings(spool_dir=spool, **settings)
    service = Service(declared, load or (recogniser or StandInRecogniser()).load)
    app = create_app(service)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://parakeet") as http,
    ):
        await until(lambda: service.health().status == status)
        yield Client(http, service)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other threads do, but not for ever."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)

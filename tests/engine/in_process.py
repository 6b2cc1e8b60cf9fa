"""The app in this process, around stand-in models: fast, and every moment can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from starlette.types import Message, Send

from images.whisperx.app.engine import Engine
from images.whisperx.app.server import create_app

SPEAKERS = "/v1/audio/transcribe-with-speakers"
TRANSCRIPTIONS = "/v1/audio/transcriptions"


@asynccontextmanager
async def client(
    engine: Engine, spool: Path, *, status: str | None = "ready"
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app; `status` is waited for first."""
    transport = httpx.ASGITransport(create_app(engine, spool), raise_app_exceptions=False)
    engine.start()
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://engine") as found:
            if status:
                await until(lambda: engine.health().status == status)
            yield found
    finally:
        engine.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other threads do; pytest's time-out ends it."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)


async def by_hand(
    engine: Engine,
    spool: Path,
    path: str,
    *,
    content: bytes,
    data: dict[str, str] | None = None,
    send: Send,
    left: asyncio.Event,
) -> None:
    """One upload over bare ASGI; its client hears by `send`, and hangs up when `left` is set."""
    request = httpx.Request("POST", f"http://engine{path}", files=upload(content), data=data)
    body: list[Message] = [{"type": "http.request", "body": request.read()}]

    async def receive() -> Message:
        if body:
            return body.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode()) for k, v in request.headers.items()],
    }
    await create_app(engine, spool)(scope, receive, send)


def upload(content: bytes, name: str = "audio.wav") -> dict[str, tuple[str, bytes]]:
    """What httpx and requests take as `files`."""
    return {"file": (name, content)}

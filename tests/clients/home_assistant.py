"""What Home Assistant says to a Wyoming server, and hears; in the environment `clients`.

`home_assistant.py PORT` reads lines of JSON from its input, each a thing to do, and prints a line
of JSON for each: {"hear": WAV, "model"} gives {"text", "pieces"}; {"say": TEXT, "voice"} and
{"stream": [TEXTS], "voice"} give {"rate", "channels", "width", "bytes", "chunks", "wav"}; {} gives
{"models", "voices"}.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
import wave
from collections.abc import AsyncIterator
from typing import Any

from wyoming.asr import Transcribe, Transcript, TranscriptChunk
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

PIECE_MS = 100


async def heard(client: AsyncTcpClient) -> AsyncIterator[Event]:
    """What the server says until the connection ends."""
    while (event := await client.read_event()) is not None:
        yield event


async def describe(client: AsyncTcpClient) -> dict[str, Any]:
    """Which models and voices there are."""
    await client.write_event(Describe().event())
    async for event in heard(client):
        if Info.is_type(event.type):
            info = Info.from_event(event)
            return {
                "models": [model.name for program in info.asr for model in program.models],
                "voices": [voice.name for program in info.tts for voice in program.voices],
            }
    raise ConnectionError


async def hear(client: AsyncTcpClient, path: str, model: str) -> dict[str, Any]:
    """A recording in, as a microphone's; its text out."""
    with wave.open(path) as file:
        rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
        sound = file.readframes(file.getnframes())
    await client.write_event(Transcribe(name=model, language="en").event())
    about = {"rate": rate, "width": width, "channels": channels}
    await client.write_event(AudioStart(**about).event())
    step = rate * width * channels * PIECE_MS // 1000
    for start in range(0, len(sound), step):
        await client.write_event(AudioChunk(audio=sound[start : start + step], **about).event())
    await client.write_event(AudioStop().event())
    pieces = []
    async for event in heard(client):
        if TranscriptChunk.is_type(event.type):
            pieces.append(TranscriptChunk.from_event(event).text)
        elif Transcript.is_type(event.type):
            return {"text": Transcript.from_event(event).text, "pieces": pieces}
    raise ConnectionError


async def say(client: AsyncTcpClient, text: str, voice: str) -> dict[str, Any]:
    """A text in, sound out."""
    await client.write_event(Synthesize(text=text, voice=SynthesizeVoice(name=voice)).event())
    return await _sound(client, AudioStop)


async def stream(client: AsyncTcpClient, texts: list[str], voice: str) -> dict[str, Any]:
    """A text that comes in pieces, as from a language model."""
    await client.write_event(SynthesizeStart(voice=SynthesizeVoice(name=voice)).event())
    for text in texts:
        await client.write_event(SynthesizeChunk(text=text).event())
    await client.write_event(Synthesize(text="".join(texts)).event())  # for servers that cannot
    await client.write_event(SynthesizeStop().event())
    return await _sound(client, SynthesizeStopped)


async def _sound(client: AsyncTcpClient, end: Any) -> dict[str, Any]:  # noqa: ANN401 - a class
    start, chunks = None, []
    async for event in heard(client):
        if AudioStart.is_type(event.type):
            start = AudioStart.from_event(event)
        elif AudioChunk.is_type(event.type):
            chunks.append(AudioChunk.from_event(event).audio)
        elif end.is_type(event.type):
            break
        elif event.type == "error":
            return {"error": event.data}
    if start is None:
        return {"error": "no sound"}
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setframerate(start.rate)
        file.setsampwidth(start.width)
        file.setnchannels(start.channels)
        file.writeframes(b"".join(chunks))
    return {
        "rate": start.rate, "width": start.width, "channels": start.channels,
        "bytes": sum(map(len, chunks)), "chunks": len(chunks),
        "wav": base64.b64encode(output.getvalue()).decode(),
    }  # fmt: skip


async def do(port: int, asked: dict[str, Any]) -> dict[str, Any]:
    """One thing, over a connection of its own, as Home Assistant has it."""
    async with AsyncTcpClient("127.0.0.1", port) as client:
        if "hear" in asked:
            return await hear(client, asked["hear"], asked["model"])
        if "stream" in asked:
            return await stream(client, asked["stream"], asked["voice"])
        if "say" in asked:
            return await say(client, asked["say"], asked["voice"])
        return await describe(client)


async def main() -> None:
    """Do what the input says, until it ends."""
    for line in sys.stdin:
        print(json.dumps(await do(int(sys.argv[1]), json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

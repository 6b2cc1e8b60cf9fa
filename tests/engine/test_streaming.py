"""The streamed answer: its lines, and what becomes of a client that does not take them."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Send

from images.serving.recording import Recording
from images.serving.scheduling import value_of
from images.whisperx.app import answering
from images.whisperx.app.diarization import SpeakerCount
from images.whisperx.app.engine import DIARIZATION, TRANSCRIPTION, Engine
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.transcription import Wish
from images.whisperx.app.work import ConversationWork, Question
from tests.engine.in_process import SPEAKERS, TRANSCRIPTIONS, by_hand, client, until, upload
from tests.engine.made_audio import silence
from tests.standins.engine_models import StandInTranscriber, make_engine

SETTINGS = EngineSettings(device="cpu", window_s=40.0)
STREAM = {"stream": "true"}
LONG_S = 100.0
"""Four chunks for the stand-in, which knows no pauses, in windows of 40, 36 and 24 s."""

Lines = list[dict[str, Any]]


def streamed(
    folder: Path,
    path: str = SPEAKERS,
    fields: dict[str, str] | None = None,
) -> tuple[Lines, dict[str, Any]]:
    """The lines, and the answer that comes without stream."""

    async def ask() -> tuple[Lines, dict[str, Any]]:
        async with client(make_engine(SETTINGS), folder) as http:
            audio = silence(LONG_S)
            response = await http.post(path, files=upload(audio), data=STREAM | (fields or {}))
            assert response.status_code == 200, response.text
            assert response.headers["content-type"] == "application/x-ndjson"
            whole = await http.post(path, files=upload(audio), data=fields)
            return [json.loads(line) for line in response.text.splitlines()], whole.json()

    lines, whole = asyncio.run(ask())
    assert not list(folder.iterdir())
    return lines, whole


def of(lines: Lines, kind: str) -> Lines:
    return [line for line in lines if line["type"] == kind]


@pytest.mark.parametrize("path", [SPEAKERS, TRANSCRIPTIONS])
def test_a_stream_begins_with_progress_and_ends_with_the_plain_answer(
    tmp_path: Path, path: str
) -> None:
    lines, whole = streamed(tmp_path, path)
    assert lines[0]["type"] == "progress"
    assert lines[0]["total_s"] == LONG_S
    assert lines[-1] == {"type": "end", "answer": whole}
    done = [line["done_s"] for line in of(lines, "progress")]
    assert done == sorted(done)


def test_the_first_line_is_progress_also_where_segments_are_known_by_then(tmp_path: Path) -> None:
    lines: Lines = []
    transcriber = StandInTranscriber()
    engine = make_engine(SETTINGS, transcriber)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":  # a slow client: the work is over before it
            await until(lambda: transcriber.calls > 1 and engine.health().progress is None)
        elif body := message["body"]:
            lines.append(json.loads(body))

    async def ask() -> None:
        async with client(engine, tmp_path):
            await by_hand(
                engine,
                tmp_path,
                TRANSCRIPTIONS,
                content=silence(1),
                data=STREAM,
                send=send,
                left=asyncio.Event(),
            )

    asyncio.run(ask())
    assert [line["type"] for line in lines] == ["progress", "segments", "end"]


def test_the_segments_of_a_stream_are_those_of_the_answer(tmp_path: Path) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    lines, whole = streamed(tmp_path, TRANSCRIPTIONS, fields)
    told = [segment for line in of(lines, "segments") for segment in line["segments"]]
    words = [word for segment in told for word in segment.pop("words")]
    assert len(of(lines, "segments")) > 1
    assert told == whole["segments"]
    assert words == whole["words"]


def test_the_speakers_of_a_stream_are_those_of_the_answer(tmp_path: Path) -> None:
    lines, whole = streamed(tmp_path, fields={"words": "true"})
    told = [segment for line in of(lines, "speakers") for segment in line["segments"]]
    assert [line["until_s"] for line in of(lines, "speakers")] == [40.0, 76.0, 100.0]
    assert told == whole["segments"]
    assert {segment["speaker"] for segment in told} == {"Speaker_0", "Speaker_1"}


def test_text_without_speakers_comes_before_them(tmp_path: Path) -> None:
    lines, whole = streamed(tmp_path)
    first = of(lines, "segments")[0]
    assert lines.index(first) < lines.index(of(lines, "speakers")[0])
    said = [s["text"] for line in of(lines, "segments") for s in line["segments"]]
    assert " ".join(said) == " ".join(segment["text"] for segment in whole["segments"])
    assert first["segments"][0]["speaker"] is None


@pytest.mark.parametrize(
    ("count", "lines_after_each_window"),
    [
        (SpeakerCount(), [1, 2, 3]),
        (SpeakerCount(maximum=2), [1, 2, 3]),
        (SpeakerCount(minimum=3), [0, 0, 3]),
        (SpeakerCount(exactly=2), [0, 0, 3]),
    ],
)
def test_speakers_come_window_by_window_unless_the_last_can_change_the_first(
    tmp_path: Path, count: SpeakerCount, lines_after_each_window: list[int]
) -> None:
    told: Lines = []
    path = tmp_path / "audio.wav"
    path.write_bytes(silence(LONG_S))

    async def work() -> None:
        engine = make_engine(SETTINGS)
        async with client(engine, tmp_path / "spool"):
            recording = Recording(path, LONG_S)
            made = ConversationWork(engine, recording, Wish(), Question(count), told.append)
            lanes = made.steps()
            value_of(lanes[TRANSCRIPTION])
            assert not of(told, "speakers")
            # The stand-in yields in the middle of a window: those before it are complete.
            middles = (58.0, 88.0)
            seen = [len(of(told, "speakers")) for done_s in lanes[DIARIZATION] if done_s in middles]
            assert [*seen, len(of(told, "speakers"))] == lines_after_each_window

    asyncio.run(work())


def test_a_failure_on_the_way_is_the_last_line(tmp_path: Path) -> None:
    transcriber = StandInTranscriber(error=RuntimeError("CUDA failed with error out of memory"))
    lines = asyncio.run(_only_lines(make_engine(SETTINGS, transcriber), tmp_path))
    assert not list(tmp_path.iterdir())
    last = lines[-1]
    assert (last["type"], last["status"]) == ("error", 503)
    assert last["error"]["code"] == "out_of_memory"
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert last["retry_after_s"] > 0
    assert not of(lines, "end")


def test_an_unexpected_failure_on_the_way_says_nothing_of_the_inside(tmp_path: Path) -> None:
    transcriber = StandInTranscriber(error=RuntimeError("secret detail in /some/path"))
    lines = asyncio.run(_only_lines(make_engine(SETTINGS, transcriber), tmp_path))
    assert not list(tmp_path.iterdir())
    assert (lines[-1]["type"], lines[-1]["error"]["code"]) == ("error", "internal_error")
    assert "secret" not in json.dumps(lines)


def test_no_silence_is_longer_than_a_quarter_of_a_minute() -> None:
    assert answering.KEEP_ALIVE_S <= 15


def test_a_stream_has_lines_also_while_nothing_advances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.whisperx.app.answering.KEEP_ALIVE_S", 0.2)
    monkeypatch.setattr("images.whisperx.app.answering._PROGRESS_EVERY_S", 0.05)
    transcriber = StandInTranscriber(gate=threading.Event())

    async def ask() -> Lines:
        async with client(make_engine(SETTINGS, transcriber), tmp_path) as http:
            asked = asyncio.create_task(http.post(SPEAKERS, files=upload(silence(1)), data=STREAM))
            await until(transcriber.entered.is_set)
            await asyncio.sleep(1.5)
            assert transcriber.gate is not None
            transcriber.gate.set()
            return [json.loads(line) for line in (await asked).text.splitlines()]

    assert len(of(asyncio.run(ask()), "progress")) >= 5


def test_what_is_refused_at_the_door_is_no_stream(tmp_path: Path) -> None:
    async def ask() -> None:
        async with client(make_engine(SETTINGS), tmp_path) as http:
            refused = await http.post(
                SPEAKERS, files=upload(silence(1)), data=STREAM | {"language": "de"}
            )
            assert refused.status_code == 400
            assert refused.json()["error"]["code"] == "unsupported_language"

    asyncio.run(ask())


async def _only_lines(engine: Engine, folder: Path) -> Lines:
    async with client(engine, folder) as http:
        response = await http.post(SPEAKERS, files=upload(silence(1)), data=STREAM)
    return [json.loads(line) for line in response.text.splitlines()]


def test_a_stream_that_nobody_reads_ends_the_work_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.whisperx.app.answering.STALL_S", 0.2)

    async def never(_message: Message) -> None:
        if _message["type"] == "http.response.body":
            await asyncio.Event().wait()

    asyncio.run(_asked_by_hand(tmp_path, send=never))
    assert not list(tmp_path.iterdir())


def test_a_client_that_leaves_in_the_middle_of_a_stream_ends_the_work(tmp_path: Path) -> None:
    async def read(_message: Message) -> None:
        pass

    asyncio.run(_asked_by_hand(tmp_path, send=read, leaves=True))
    assert not list(tmp_path.iterdir())


async def _asked_by_hand(folder: Path, *, send: Send, leaves: bool = False) -> None:
    """A request over bare ASGI; its client stops reading, or leaves, while its first batch runs."""
    gate, left = threading.Event(), asyncio.Event()
    transcriber = StandInTranscriber(gate=gate)
    engine = make_engine(SETTINGS, transcriber)
    async with client(engine, folder):
        asked = by_hand(
            engine,
            folder,
            SPEAKERS,
            content=silence(LONG_S),
            data=STREAM,
            send=send,
            left=left,
        )
        answering = asyncio.create_task(asked)
        await until(transcriber.entered.is_set)
        assert engine.health().in_flight == 1
        if leaves:
            left.set()
        await asyncio.sleep(0.5)  # longer than a stalled client is waited for
        gate.set()  # the step that was at work ends; no other is begun
        await answering
        warm_up_and_one_chunk = 2
        assert transcriber.calls == warm_up_and_one_chunk
        assert engine.health().in_flight == 0

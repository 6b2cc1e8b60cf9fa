"""Uploads that need decoding: whose turn it is, and what is left of one that nobody wants.

The decoder is the real one, but it waits until a test lets it go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from images.serving import decoding
from images.whisperx.app.engine import Engine
from images.whisperx.app.settings import EngineSettings
from proxy_app.audio import decode
from tests.api.recordings import canonical_wav, encoded
from tests.engine.conftest import ROOT, start, wait_for
from tests.engine.in_process import TRANSCRIPTIONS, by_hand, client, until, upload
from tests.standins.engine_models import make_engine

SETTINGS = EngineSettings(device="cpu", threads=1, queue=100)
CORES = len(os.sched_getaffinity(0))
MANY = min(32, (os.cpu_count() or 1) + 4)
"""So many threads asyncio has for what blocks: no fewer uploads could occupy them all."""
LIMIT = 100_000
LARGE = canonical_wav(1, 44_100, 2)
"""CD quality, which needs decoding; over the limit that the tests set."""
CLIP = encoded("libmp3lame", "mp3", 1.0)

SLOW = """
import importlib.util, os, pathlib, time
spec = importlib.util.spec_from_file_location("child", {child!r})
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
decode, folder = child.decode, pathlib.Path({folder!r})

def slow(order):
    if os.stat(order["source"]).st_size > {more_than}:
        (folder / f"{{os.getpid()}}.pid").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    return decode(order)

child.decode = slow
child.main()
"""


@dataclass
class SlowDecoder:
    """Holds up the decoding of files that have more than so many bytes."""

    folder: Path
    script: Path

    @property
    def pids(self) -> list[int]:
        """The processes that were held up."""
        return [int(file.stem) for file in self.folder.glob("*.pid")]

    def release(self) -> None:
        """Let them, and all that come, go on."""
        (self.folder / "go").touch()

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        """Run a test; without the rule that it is for, it would wait for ever."""

        async def within_a_minute() -> None:
            try:
                await asyncio.wait_for(test, 60)
            finally:
                self.release()

        asyncio.run(within_a_minute())


def hold_up(folder: Path, monkeypatch: pytest.MonkeyPatch, *, more_than: int = 0) -> SlowDecoder:
    """From now on files that have more than so many bytes are held up."""
    child, script = str(decode._CHILD), folder / "slow.py"
    script.write_text(SLOW.format(child=child, folder=str(folder), more_than=more_than))
    monkeypatch.setattr(decode, "_CHILD", script)
    monkeypatch.setattr(decoding, "SMALL_BYTES", LIMIT)
    return SlowDecoder(folder, script)


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """One place for small files and one for large ones."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """The engine's, apart from the decoder's files."""
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


def left_files(spool: Path) -> list[Path]:
    """What lies in the spool."""
    return list(spool.iterdir())


def is_gone(pid: int) -> bool:
    """Whether a process has ended, and its parent knows."""
    return not Path(f"/proc/{pid}").exists()


def has_ended(pid: int) -> bool:
    """The same for the child of a killed process: nobody may be there to take note."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_minute_of_a_cds_sound_is_a_small_file_and_a_film_is_none() -> None:
    assert 44_100 * 2 * 2 * 60 <= decoding.SMALL_BYTES <= 20_000_000


def test_a_clip_does_not_wait_for_the_decoding_of_long_uploads_that_came_before(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = hold_up(tmp_path, monkeypatch, more_than=LIMIT)

    async def look() -> None:
        engine = make_engine(SETTINGS)
        async with client(engine, spool) as http:
            long = [
                asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(LARGE)))
                for _ in range(MANY)
            ]
            await until(lambda: engine.health().in_flight == MANY and len(slow.pids) >= CORES)
            clip = await http.post(TRANSCRIPTIONS, files=upload(CLIP))
            assert clip.status_code == 200, clip.text
            assert not any(task.done() for task in long)
            assert len(slow.pids) == CORES
            slow.release()
            assert {(await task).status_code for task in long} == {200}

    slow.run(look())


def test_what_needs_no_decoding_waits_for_no_decoder(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = hold_up(tmp_path, monkeypatch)

    async def look() -> None:
        engine = make_engine(SETTINGS)
        async with client(engine, spool) as http:
            others = [
                asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(content)))
                for content in [LARGE, CLIP] * (MANY // 2 + 1)
            ]
            await until(lambda: engine.health().in_flight == len(others))
            answer = await http.post(TRANSCRIPTIONS, files=upload(canonical_wav(3)))
            assert answer.status_code == 200, answer.text
            assert not any(task.done() for task in others)
            slow.release()
            assert {(await task).status_code for task in others} == {200}

    slow.run(look())


@pytest.mark.usefixtures("one_core")
def test_a_client_that_leaves_stops_its_decoding_and_frees_its_place(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = hold_up(tmp_path, monkeypatch)

    async def look() -> None:
        engine = make_engine(SETTINGS)
        async with client(engine, spool) as http:
            left = asyncio.Event()
            asked = asyncio.create_task(ask(engine, spool, left))
            await until(lambda: len(slow.pids) == 1)
            assert engine.health().in_flight == 1
            left.set()
            assert await asked == (499, b"")
            assert is_gone(slow.pids[0])
            assert engine.health().in_flight == 0
            assert not left_files(spool)
            after = asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(LARGE)))
            await until(lambda: len(slow.pids) == 2)
            slow.release()
            assert (await after).status_code == 200

    slow.run(look())


@pytest.mark.usefixtures("one_core")
def test_a_client_that_leaves_before_its_turn_is_never_decoded(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = hold_up(tmp_path, monkeypatch)

    async def look() -> None:
        engine = make_engine(replace(SETTINGS, queue=1))
        async with client(engine, spool) as http:
            first = asyncio.create_task(http.post(TRANSCRIPTIONS, files=upload(LARGE)))
            await until(lambda: len(slow.pids) == 1)
            left = asyncio.Event()
            asked = asyncio.create_task(ask(engine, spool, left))
            await until(lambda: engine.health().in_flight == 2)
            left.set()
            assert await asked == (499, b"")
            assert engine.health().in_flight == 1
            slow.release()
            assert (await first).status_code == 200
            assert len(slow.pids) == 1

    slow.run(look())


def test_a_server_that_stops_ends_the_decoding_and_says_so(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = hold_up(tmp_path, monkeypatch)

    async def look() -> None:
        engine = make_engine(SETTINGS)
        async with client(engine, spool):
            asked = asyncio.create_task(ask(engine, spool, asyncio.Event()))
            await until(lambda: len(slow.pids) == 1)
            asked.cancel()  # as uvicorn does
            status, body = await asked
            assert (status, b"engine_stopping" in body) == (503, True)
            await until(lambda: is_gone(slow.pids[0]))
            assert not left_files(spool)

    slow.run(look())


def test_a_signal_ends_the_process_and_the_decoding_at_hand(
    engine_python: Path, tmp_path: Path
) -> None:
    hour = encoded("libmp3lame", "mp3", 10.0) * 360
    running = start(engine_python, tmp_path, module="tests.standins.engine_slow")
    with ThreadPoolExecutor() as others:
        try:
            running.wait_until("ready")
            request = others.submit(running.post, TRANSCRIPTIONS, hour)
            wait_for(lambda: any(file.suffix == ".wav" for file in running.left_files()))
        finally:
            running.stop()
        answer = request.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_stopping")
    assert "Traceback" not in running.log.read_text()
    assert not running.spool.exists()


def test_the_decoder_dies_with_the_process_that_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = hold_up(tmp_path, monkeypatch)
    source = tmp_path / "upload"
    source.write_bytes(LARGE)
    program = (
        "import pathlib; from proxy_app.audio import decode\n"
        f"decode._CHILD = pathlib.Path({str(slow.script)!r})\n"
        f"decode.to_wav(pathlib.Path({str(source)!r}), pathlib.Path({str(source)!r} + '.wav'))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        wait_for(lambda: bool(slow.pids))
        (pid,) = slow.pids
        assert not has_ended(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 30  # by itself it would wait for ever
        while not has_ended(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        parent.kill()
        parent.wait()
        slow.release()
        for pid in slow.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def ask(engine: Engine, spool: Path, left: asyncio.Event) -> tuple[int, bytes]:
    """An upload that needs decoding, by a client that hangs up when `left` is set.

    Returns:
        The answer's status, 499 if there is none, and its body.
    """
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await by_hand(engine, spool, TRANSCRIPTIONS, content=LARGE, send=send, left=left)
    head, body = sent
    return head["status"], body["body"]

"""Uploads become WAVs, a few at a time, and a small file never waits for large ones."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from images.serving.errors import ApiError
from images.serving.scheduling import Unwanted
from proxy_app.audio import (
    AudioError,
    AudioInfo,
    DecodeLimits,
    GivenUpError,
    copy_canonical,
    to_wav,
)

SMALL_BYTES = 12_000_000
"""A minute of a CD's sound is smaller. What is compressed takes two busy cores 5 s at this size as
MP3 of 64 kbit/s (25 minutes), and 45 s as Opus of 16 kbit/s (two hours)."""


class Decoder:
    """Decodes uploads by `proxy_app.audio`.

    Small files have as many places as there are cores, and large ones as many more. In either queue
    the first that came is next. What needs no decoding waits in neither.

    Args:
        max_audio_s: the longest audio, in seconds.
        setting: the name of the setting that says so.
    """

    def __init__(self, max_audio_s: float, setting: str) -> None:
        cores = len(os.sched_getaffinity(0))
        self._setting = setting
        self._limits = DecodeLimits(max_audio_s=max_audio_s)
        self._small = ThreadPoolExecutor(cores, "decoding-small")
        self._large = ThreadPoolExecutor(cores, "decoding-large")

    async def decode(
        self,
        file: Path,
        gone: asyncio.Future[None],
        *,
        param: str = "file",
        longest_s: float | None = None,
    ) -> float:
        """Make the file 16 kHz mono WAV in its place; its true length in seconds.

        The child process has ended by then; where the task is cancelled, it ends soon after.

        Args:
            file: a complete upload.
            gone: done once nobody wants the answer any more.
            param: the field that it came in.
            longest_s: how long it may be, where that is less than for a recording.

        Raises:
            ApiError: what is wrong with the file.
            Unwanted: nobody waits for it.
        """
        wav = file.with_suffix(".wav")
        limits = self._limits
        if longest_s is not None:
            limits = replace(limits, max_audio_s=longest_s)
        try:
            info = await asyncio.to_thread(copy_canonical, file, wav, limits)
            if info is None:
                info = await self._in_turn(file, wav, limits, gone)
        except AudioError as error:
            is_setting = error.code == "audio_too_long" and longest_s is None
            setting = f" ({self._setting})" if is_setting else ""
            message = f"{error.message}{setting}"
            raise ApiError(error.status, error.code, message, param=param) from error
        wav.replace(file)
        return info.duration_s

    async def _in_turn(
        self, file: Path, wav: Path, limits: DecodeLimits, gone: asyncio.Future[None]
    ) -> AudioInfo:
        given_up = threading.Event()
        job = self._queue_of(file).submit(to_wav, file, wav, limits, given_up)
        finished = asyncio.wrap_future(job)
        try:
            either: set[asyncio.Future[Any]] = {finished, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # The server stops: there is time for an answer, but none to wait for the thread's end.
            finished.cancel()
            raise
        finally:
            given_up.set()
            job.cancel()  # which does nothing once it has begun
        await asyncio.wait({finished})
        if finished.cancelled() or isinstance(finished.exception(), GivenUpError):
            raise Unwanted
        return finished.result()

    def _queue_of(self, file: Path) -> ThreadPoolExecutor:
        return self._small if file.stat().st_size <= SMALL_BYTES else self._large

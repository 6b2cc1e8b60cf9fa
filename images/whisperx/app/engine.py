"""The models, their state, and the one thread that may use them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from images.whisperx.app import faults
from images.whisperx.app.device import choose_device
from images.whisperx.app.diarization import Diarizer, SpeakerCount, load_diarizer
from images.whisperx.app.errors import ApiError
from images.whisperx.app.hub import ModelError, first_line
from images.whisperx.app.probe_audio import speech_like
from images.whisperx.app.settings import EngineSettings
from images.whisperx.app.transcription import FasterWhisper, Transcriber, Wish

log = logging.getLogger(__name__)

T = TypeVar("T")
M = TypeVar("M")

MAX_UPLOADS = 100
"""Half-sent uploads take no place in the queue; so many may hang before new ones are refused."""
RETRY_AFTER_S = 10
"""What clients are told while the models load or the queue is full."""
LOAD_AGAIN_S = 60.0
"""A model that could not be loaded is tried again: the hub or the memory may be back."""
FATAL_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""
FATAL_EXIT_AFTER_S = 1.0
"""Between a fatal fault and the end of the process, for the replies."""
# What Whisper writes down words for. Over longer vowels it repeats itself, and tries again.
WHISPER_WARM_UP_S = 3.0
# Long enough for ten windows of senko's, the least that it clusters, and one of pyannote's.
DIARIZER_WARM_UP_S = 10.0
_FATAL = (
    "A CUDA error made the GPU unusable for this process: only a new process helps. "
    "Restart the engine; its log has the error."
)


class Unwanted(Exception):  # noqa: N818 - it is no error
    """The client has gone, or the server stops: the work ends at the next checkpoint."""


@dataclass(slots=True)
class Job:
    """One request's work."""

    duration_s: float
    stage: str = "waiting"
    part: float = 0.0
    unwanted: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work at hand is.

    `steps` counts over the life of the process, so that two looks at it tell work that advances
    from work that is stuck, whatever the stage.
    """

    stage: str
    done_s: float
    total_s: float
    steps: int


@dataclass(frozen=True, slots=True)
class Health:
    """The body of GET /health; status is loading, ready, failed or fatal."""

    status: str
    whisper_loaded: bool
    diarizer_loaded: bool
    alignment: str
    model: str
    diarizer: str
    device: str
    uptime_s: float
    in_flight: int
    progress: Progress | None
    detail: str


@dataclass(slots=True)
class _Slot(Generic[M]):
    """A place for a model: empty while it loads, with a sentence where that failed."""

    title: str
    model: M | None = None
    error: str = ""


class Engine:
    """Loads the models in the background and runs one job at a time with them.

    Args:
        settings: limits and models.
        load_transcriber, load_diarizer: what makes the models; called in threads of their own.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        load_transcriber: Callable[[EngineSettings, str], Transcriber] = FasterWhisper.load,
        load_diarizer: Callable[[EngineSettings, str], Diarizer] = load_diarizer,
    ) -> None:
        self.settings = settings
        self._loaders = (load_transcriber, load_diarizer)
        self._whisper: _Slot[Transcriber] = _Slot(f"Whisper {settings.model}")
        self._diarizer: _Slot[Diarizer] = _Slot("pyannote" if settings.uses_pyannote else "senko")
        self._device = settings.device
        self._fatal = False
        self._started = time.monotonic()
        self._stopping = threading.Event()
        self._uploads = 0
        self._places = 0
        self._running: Job | None = None
        self._steps = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    def start(self) -> None:
        """Begin to load the models; returns at once."""
        for work in (self._load_whisper, self._load_diarizer):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()

    def stop(self) -> None:
        """End the work at hand at its next checkpoint, and take no more."""
        self._stopping.set()
        if self._running is not None:
            self._running.unwanted.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def transcriber(self) -> Transcriber:
        """The loaded Whisper model, or ApiError 503."""
        return self._loaded(self._whisper)

    @property
    def diarizer(self) -> Diarizer:
        """The loaded diarizer, or ApiError 503."""
        return self._loaded(self._diarizer)

    def health(self) -> Health:
        """The state of now; never waits for anything."""
        slots = (self._whisper, self._diarizer)
        errors = [slot.error for slot in slots if slot.error]
        loading = [slot.title for slot in slots if slot.model is None and not slot.error]
        if self._fatal:
            status, detail = "fatal", _FATAL
        elif errors:
            status, detail = "failed", "; ".join(errors)
        elif loading:
            status, detail = "loading", f"loading {' and '.join(loading)}"
        else:
            status, detail = "ready", ""
        whisper, diarizer = self._whisper.model, self._diarizer.model
        return Health(
            status=status,
            whisper_loaded=whisper is not None,
            diarizer_loaded=diarizer is not None,
            alignment="none",
            model=whisper.name if whisper else self.settings.model,
            diarizer=diarizer.name if diarizer else self._diarizer.title,
            device=self._device,
            uptime_s=round(time.monotonic() - self._started, 1),
            in_flight=self._places,
            progress=self._progress(),
            detail=detail,
        )

    def refuse_if_fatal(self) -> None:
        """Raises ApiError 503 once the GPU is lost for this process."""
        if self._fatal:
            raise ApiError(503, "engine_fatal", _FATAL)

    @contextlib.contextmanager
    def upload(self) -> Iterator[None]:
        """Bound the uploads that are being read, kept on disk or answered, apart from the places.

        Raises:
            ApiError: 503, when there are too many; 429, when no place is free in any case.
        """
        if self._uploads >= MAX_UPLOADS:
            message = f"{self._uploads} uploads are being read already. Try again later."
            raise ApiError(503, "too_many_uploads", message, retry_after_s=RETRY_AFTER_S)
        self._refuse_when_full()
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """One of the places in the house, from a request's last byte to its answer.

        Raises:
            ApiError: 429, when all are taken.
        """
        self._refuse_when_full()
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    def _refuse_when_full(self) -> None:
        if self._places > self.settings.queue:
            raise ApiError(
                429,
                "queue_full",
                f"{self._places} requests are here already (ENGINE_QUEUE). Try again later.",
                retry_after_s=RETRY_AFTER_S,
            )

    async def run(self, job: Job, work: Callable[[], T], gone: asyncio.Future[None]) -> T:
        """Do a job's work when its turn comes.

        Args:
            job: the job that `work` reports to.
            work: runs in the inference thread, so that the event loop stays free.
            gone: done once nobody wants the answer any more. A waiting job then leaves the queue,
                a running one ends at its next checkpoint.

        Raises:
            Unwanted: nobody waits for the answer.
            ApiError: the models cannot be used (503).
        """
        running = self._thread.submit(self._perform, job, work)
        answer = asyncio.wrap_future(running)
        try:
            either: set[asyncio.Future[Any]] = {answer, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                job.unwanted.set()
                if running.cancel():
                    raise Unwanted
                await asyncio.wait({answer})  # its place is taken until the thread is free
            return answer.result()
        finally:
            # The server may also cancel this task, when it stops.
            job.unwanted.set()
            running.cancel()
            answer.cancel()  # nobody will read what becomes of the work

    def checkpoint(self, job: Job, stage: str, part: float) -> None:
        """Note a job's progress; raises Unwanted where nobody waits for it."""
        job.stage, job.part = stage, part
        self._steps += 1
        if job.unwanted.is_set():
            raise Unwanted

    def _progress(self) -> Progress | None:
        job = self._running
        if job is None:
            return None
        done_s = round(job.part * job.duration_s, 2)
        return Progress(job.stage, done_s, round(job.duration_s, 2), self._steps)

    def _perform(self, job: Job, work: Callable[[], T]) -> T:
        self.refuse_if_fatal()
        self._running = job
        try:
            self.checkpoint(job, "starting", 0.0)
            return work()
        except (ApiError, Unwanted):
            raise
        except Exception as error:
            refusal = self._refusal(error)
            if refusal is None:
                raise
            raise refusal from error
        finally:
            self._running = None

    def _refusal(self, error: Exception) -> ApiError | None:
        """What a fault of the device is answered with; None for a fault of the program."""
        fault = faults.classify(error)
        if fault is faults.Fault.STICKY:
            log.error("the GPU is lost for this process", exc_info=error)
            self._die()
            return ApiError(503, "engine_fatal", _FATAL)
        if fault is faults.Fault.MEMORY:
            log.error("memory ran out", exc_info=error)
            message = "Memory ran out over this audio. Send it in parts, or try again later."
            return ApiError(503, "out_of_memory", message, retry_after_s=RETRY_AFTER_S)
        return None

    def _die(self) -> None:
        self._fatal = True
        if self.settings.fatal_exit:
            log.critical("ENGINE_FATAL_EXIT: ending with code %d", FATAL_EXIT_CODE)
            threading.Timer(FATAL_EXIT_AFTER_S, os._exit, [FATAL_EXIT_CODE]).start()

    def _loaded(self, slot: _Slot[M]) -> M:
        self.refuse_if_fatal()
        if slot.model is not None:
            return slot.model
        if slot.error:
            raise ApiError(
                503,
                "model_failed",
                f"{slot.title} could not be loaded; GET /health says why.",
                retry_after_s=int(LOAD_AGAIN_S),
            )
        raise ApiError(
            503,
            "model_loading",
            f"{slot.title} is being loaded. Try again in a moment.",
            retry_after_s=RETRY_AFTER_S,
        )

    def _load_whisper(self) -> None:
        def load() -> Transcriber:
            transcriber = self._loaders[0](self.settings, self._chosen_device())
            sound = speech_like(WHISPER_WARM_UP_S)
            transcriber.transcribe(sound, WHISPER_WARM_UP_S, Wish(language="en"), _no_checkpoint)
            return transcriber

        self._load(self._whisper, load)

    def _load_diarizer(self) -> None:
        def load() -> Diarizer:
            diarizer = self._loaders[1](self.settings, self._chosen_device())
            sound = speech_like(DIARIZER_WARM_UP_S)
            if not diarizer.diarize(sound, SpeakerCount(), _no_checkpoint):
                log.warning("the warm-up sound is no speech to %s", diarizer.name)
            return diarizer

        self._load(self._diarizer, load)

    def _chosen_device(self) -> str:
        self._device = choose_device(self.settings)
        return self._device

    def _load(self, slot: _Slot[M], load: Callable[[], M]) -> None:
        """Fill a slot; until that succeeds, say why not and try again."""
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                slot.model = load()
            except Exception as error:
                log.exception("%s cannot be loaded", slot.title)
                if faults.classify(error) is faults.Fault.STICKY:
                    self._die()
                    return
                reason = str(error) if isinstance(error, ModelError) else _described(error)
                slot.error = f"{slot.title}: {reason}. It is tried again every {LOAD_AGAIN_S:.0f} s"
            else:
                slot.error = ""
                log.info("%s is ready after %.1f s", slot.title, time.monotonic() - began)
                return
            self._stopping.wait(LOAD_AGAIN_S)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _no_checkpoint(_stage: str, _part: float) -> None:
    """Nobody watches a warm-up."""
